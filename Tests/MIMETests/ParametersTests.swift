// SPDX-License-Identifier: Apache-2.0

import MIME
import Testing

@Suite("parameters, RFC 2045 section 5.1 and RFC 2231")
struct ParametersTests {
    /// `name=value`, extended ones as `name*=value`.
    private func parameters(_ body: String) -> [String] {
        let octets = crlf(body)
        guard let field = ParameterizedField(octets.span, 0..<octets.count) else { return ["none"] }
        return Parameter.all(octets.span, field.parameters).map {
            text($0.name) + ($0.isExtended ? "*=" : "=") + text($0.value)
        }
    }

    private func value(_ name: StaticString, _ body: String) -> String? {
        let octets = crlf(body)
        guard let field = ParameterizedField(octets.span, 0..<octets.count) else { return nil }
        return Parameter.text(name, octets.span, field.parameters).map { text($0) }
    }

    @Test(arguments: [
        ("text/plain", []),
        ("text/plain; charset=us-ascii (Plain text)", ["charset=us-ascii"]),
        ("text/plain; charset=\"us-ascii\"", ["charset=us-ascii"]),
        ("multipart/mixed;\n boundary=\"a; b\\\"c\"; x=y", ["boundary=a; b\"c", "x=y"]),
        ("text/plain ; a = b ; c=\"\"", ["a=b", "c="]),
        ("attachment; filename=my file.pdf; size=3", ["filename=my file.pdf", "size=3"]),
        ("text/plain;;; junk; =x; \"y\"; a=1;", ["a=1"]),
        ("text/plain; a=\"never closed", ["a=never closed"]),
        ("text/plain; a=\"fol\n ded\"", ["a=fol ded"]),
        ("text/plain; a(c)=(d)b", ["a=b"]),
    ])
    func `parameters are read in order`(_ body: String, _ expected: [String]) {
        #expect(parameters(body) == expected)
    }

    @Test(arguments: [
        // RFC 2231 sections 3, 4 and 4.1
        (
            "message/external-body; access-type=URL;\n URL*0=\"ftp://\";\n URL*1=\"cs.utk.edu/x\"",
            ["access-type=URL", "URL=ftp://cs.utk.edu/x"]
        ),
        (
            "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            ["title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A"]
        ),
        (
            "application/x-stuff;\n title*0*=us-ascii'en'This%20is%20even%20more%20;\n"
                + " title*1*=%2A%2A%2Afun%2A%2A%2A%20;\n title*2=\"isn't it!\"",
            ["title*=us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!"]
        ),
        ("a/b; x*2=c; x*0=a; y=1; x*1=b", ["x=abc", "y=1"]),
        ("a/b; x*0=a; x*2=c", ["x=a"]),
        ("a/b; x*1=a; y=2", ["y=2"]),
        ("a/b; x*0=a; x*0=z; x*1=b", ["x=ab"]),
        ("a/b; X*0=a; x*1=b", ["X=ab"]),
        ("a/b; x*0=a; x*1*=%62", ["x*=''a%62"]),
        ("a/b; x*99999=a; x*=''b", ["x*99999=a", "x*=''b"]),
    ])
    func `pieces are put together`(_ body: String, _ expected: [String]) {
        #expect(parameters(body) == expected)
    }

    @Test(arguments: [
        ("a; filename*=utf-8''%e2%82%ac%20rates", "€ rates"),
        ("a; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
        ("a; filename=\"plain\"; filename*=UTF-8''%C3%A4", "ä"),
        ("a; filename*=UTF-8''%C3%A4; filename=\"plain\"", "ä"),
        ("a; filename*0*=UTF-8''%C3; filename*1*=%A4; filename*2=.txt", "ä.txt"),
        ("a; FileName=x", "x"),
        ("a; filename*=broken%20%zz%2", "broken %zz%2"),
        ("a; filename*=''", ""),
    ])
    func `values are decoded`(_ body: String, _ expected: String) {
        #expect(value("filename", body) == expected)
    }

    @Test func `no more than 500 parameters are read`() {
        let body = "a/b" + (0..<2_000).map { "; n\($0)=v" }.joined()
        #expect(parameters(body).count == 500)
    }

    @Test(arguments: [
        ("text/plain", "text", "plain"), (" (c) TEXT (c) / (c) html ; x", "TEXT", "html"),
        ("text", nil, nil), ("", nil, nil), ("/plain", nil, nil), ("text/", nil, nil),
    ])
    func `media types have two halves`(_ body: String, _ type: String?, _ subtype: String?) {
        let octets = crlf(body)
        let field = ParameterizedField.mediaType(octets.span, 0..<octets.count)
        #expect(field.map { text(octets[$0.value]) } == type)
        #expect(field?.subtype.map { text(octets[$0]) } == subtype)
    }

    @Test(arguments: [
        ("base64", TransferEncoding.base64), (" BASE64 (x)", .base64), ("8bit", .identity),
        ("quoted-printable;", .quotedPrintable), ("", .identity), ("binary", .identity),
        ("x-uuencode", .unknown),
    ])
    func `transfer encodings are known by name`(_ body: String, _ encoding: TransferEncoding) {
        let octets = crlf(body)
        #expect(TransferEncoding(octets.span, 0..<octets.count) == encoding)
        #expect(TransferEncoding(octets.span, nil) == .identity)
    }
}
