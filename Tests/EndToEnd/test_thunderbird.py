# SPDX-License-Identifier: Apache-2.0
"""Thunderbird without a screen, told what to do through Marionette: its own code lists, reads, searches,
flags, moves, deletes, sends, and sees new mail while it idles. What it did is looked at through imaplib."""

import json
import os
import socket
import ssl
import subprocess
import time

from suite import eventually, need
from test_clients import ALICE, BOB, ClientCase

#: Functions for all scripts. Each runs in Thunderbird's own process, with its rights.
LIBRARY = """
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const sleep = ms => new Promise(r => { let t = Cc["@mozilla.org/timer;1"].createInstance(Ci.nsITimer);
    t.initWithCallback(r, ms, Ci.nsITimer.TYPE_ONE_SHOT); globalThis.kept = t; });
async function until(check, what, seconds = 20) {
    for (let left = seconds * 20; left > 0; left--) {
        let value = check();
        if (value) return value;
        await sleep(50);
    }
    throw new Error("timed out: " + what);
}
function server() { return MailServices.accounts.allServers.find(s => s.type == "imap"); }
function folder(name) {
    return server().rootFolder.descendants.find(f => f.name.toLowerCase() == name.toLowerCase());
}
function headers(f) { return [...f.messages]; }
function header(f, subject) { return headers(f).find(h => h.subject == subject); }
function heard(resolve, reject) {
    return { QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
        onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
        OnStartCopy() {}, OnProgress() {}, SetMessageKey() {}, GetMessageId() { return null; },
        OnStartRunningUrl() {}, onStartRunningUrl() {},
        OnStopRunningUrl(u, status) { status ? reject(new Error("" + status)) : resolve(); },
        onStopRunningUrl(u, status) { status ? reject(new Error("" + status)) : resolve(); },
        OnStopCopy(status) { status ? reject(new Error("" + status)) : resolve(); },
        onStopCopy(status) { status ? reject(new Error("" + status)) : resolve(); } };
}
const answered = start => new Promise((resolve, reject) => start(heard(resolve, reject)));
(async function () {
%s
})().then(value => done({ value: value === undefined ? null : value }),
          error => done({ error: String(error) + " " + (error && error.stack) }));
"""

SET_UP = """
const [user, password, imap, smtp, certificate] = arguments;
const cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
    .constructX509FromBase64(certificate);
const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
for (const port of [imap, smtp]) overrides.rememberValidityOverride("localhost", port, {}, cert, true);
for (const origin of ["imap://localhost", "smtp://localhost"]) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(origin, null, origin, user, password, "", "");
    await Services.logins.addLoginAsync(login);
}
const incoming = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
incoming.port = imap;
incoming.socketType = Ci.nsMsgSocketType.SSL;
incoming.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const service = MailServices.outgoingServer || MailServices.smtp;
let outgoing = service.createServer("smtp");
outgoing.QueryInterface(Ci.nsISmtpServer);
outgoing.hostname = "localhost";
outgoing.port = smtp;
outgoing.username = user;
outgoing.socketType = Ci.nsMsgSocketType.SSL;
outgoing.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
service.defaultServer = outgoing;
const identity = MailServices.accounts.createIdentity();
identity.email = user;
identity.smtpServerKey = outgoing.key;
identity.doFcc = false;
const account = MailServices.accounts.createAccount();
account.incomingServer = incoming;
account.addIdentity(identity);
MailServices.accounts.defaultAccount = account;
Services.io.offline = false;
await answered(l => MailServices.imap.discoverAllFolders(incoming.rootFolder, l, null));
await until(() => folder("Archive") && folder("INBOX"), "list of folders");
const inbox = folder("INBOX");
await answered(l => inbox.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l));
await until(() => headers(inbox).length == 6, "messages of INBOX");
return server().rootFolder.descendants.map(f => f.name);
"""

READ = """
const found = header(folder("INBOX"), arguments[0]);
const uri = found.folder.getUriForMsg(found);
const service = MailServices.messageServiceFromURI(uri);
const text = await new Promise((resolve, reject) => {
    let octets = "";
    service.streamMessage(uri, {
        QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
        onStartRequest() {},
        onDataAvailable(request, stream, offset, count) {
            const input = Cc["@mozilla.org/scriptableinputstream;1"]
                .createInstance(Ci.nsIScriptableInputStream);
            input.init(stream);
            octets += input.read(count);
        },
        onStopRequest(request, status) { status ? reject(new Error("" + status)) : resolve(octets); },
    }, null, null, false, "", false);
});
return text;
"""

SEARCH = """
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder("INBOX"));
const term = session.createTerm();
const value = term.value;
value.attrib = Ci.nsMsgSearchAttrib.Body;
value.str = arguments[0];
term.value = value;
term.attrib = Ci.nsMsgSearchAttrib.Body;
term.op = Ci.nsMsgSearchOp.Contains;
term.booleanAnd = true;
session.appendTerm(term);
const hits = [];
await new Promise(resolve => {
    session.registerListener({
        QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
        onSearchHit(h) { hits.push(h.subject); }, onSearchDone() { resolve(); }, onNewSearch() {},
    });
    session.search(null);
});
return hits;
"""

WORK = """
const inbox = folder("INBOX"), archive = folder("Archive");
inbox.markMessagesFlagged([header(inbox, "m1")], true);
await answered(l => MailServices.copy.copyMessages(
    inbox, [header(inbox, "m2")], archive, true, l, null, false));
inbox.deleteMessages([header(inbox, "m3")], null, false, false, null, false);
await until(() => !header(inbox, "m3") && !header(inbox, "m2"), "moved and deleted");
"""

SEND = """
const [sender, recipient, subject] = arguments;
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.from = sender;
fields.to = recipient;
fields.subject = subject;
fields.body = "Hello.";
const identity = MailServices.accounts.allIdentities.find(i => i.email == sender);
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = fields;
params.identity = identity;
params.format = Ci.nsIMsgCompFormat.PlainText;
const compose = MailServices.compose.initCompose(params);
await compose.sendMsg(Ci.nsIMsgSend.nsMsgDeliverNow, identity, "", null, null);
"""


class Marionette:
    """Thunderbird's remote control: a length, a colon and JSON, both ways."""

    def __init__(self, port):
        self.number = 0
        self.socket = eventually(lambda: socket.create_connection(("127.0.0.1", port), 60), 60)
        self.buffer = b""
        self.receive()
        self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})
        self.call("Marionette:SetContext", {"value": "chrome"})
        self.call("WebDriver:SetTimeouts", {"script": 60000})

    def receive(self):
        while b":" not in self.buffer:
            self.more()
        size, self.buffer = self.buffer.split(b":", 1)
        while len(self.buffer) < int(size):
            self.more()
        text, self.buffer = self.buffer[:int(size)], self.buffer[int(size):]
        return json.loads(text)

    def more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise AssertionError("Thunderbird has gone")
        self.buffer += octets

    def call(self, command, parameters):
        self.number += 1
        text = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text)
        _, _, error, result = self.receive()
        if error:
            raise AssertionError(f"{command}: {json.dumps(error)[:2000]}")
        return result

    def run(self, script, *arguments):
        result = self.call("WebDriver:ExecuteAsyncScript", {
            "script": "const given = [...arguments].slice(0, -1);\n"
            + LIBRARY % script.replace("arguments", "given"),
            "args": list(arguments), "newSandbox": True})["value"]
        if "error" in result:
            raise AssertionError(result["error"])
        return result["value"]

    def close(self):
        self.socket.close()


class Thunderbird(ClientCase):
    def start(self):
        program = need("thunderbird")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "marionette.port": port, "mail.provider.suppress_dialog_on_startup": True,
            "mail.spotlight.firstRunDone": True, "mail.winsearch.firstRunDone": True,
            "app.update.enabled": False, "datareporting.policy.dataSubmissionEnabled": False,
            "toolkit.telemetry.reportingpolicy.firstRun": False, "mail.shell.checkDefaultClient": False,
            "mail.server.default.login_at_startup": False, "mailnews.start_page.enabled": False,
            "mail.phishing.detection.enabled": False, "mail.rights.version": 1,
            "mail.ui.folderpane.version": 99, "app.donation.eoy.version.viewed": 999,
            "mail.server.default.check_new_mail": True, "mail.biff.show_alert": False,
            "mail.biff.play_sound": False, "network.proxy.type": 0,
        }
        self.write("profile/user.js", "".join(
            f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in settings.items()))
        log = open(os.path.join(self.home, "thunderbird.log"), "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [program, "--headless", "--marionette", "--remote-allow-system-access", "--profile",
             os.path.join(self.home, "profile")],
            env={**os.environ, "HOME": self.home, "MOZ_HEADLESS": "1", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

        def stop():
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self.addCleanup(stop)
        remote = Marionette(port)
        self.addCleanup(remote.close)
        return remote

    def test_thunderbird(self):
        remote = self.start()
        pem = ssl.get_server_certificate(("127.0.0.1", self.ports["imaps"]))
        certificate = "".join(pem.splitlines()[1:-1])
        names = remote.run(SET_UP, ALICE, self.password, self.ports["imaps"], self.ports["smtps"],
                           certificate)
        self.assertLessEqual({"INBOX", "Archive", "Sent", "Junk", "Trash", "Drafts"},
                             {"INBOX" if n.lower() == "inbox" else n for n in names})
        self.assertIn("This is number-4.", remote.run(READ, "m4"))
        self.assertEqual(remote.run(SEARCH, "number-4"), ["m4"])
        remote.run(WORK)
        self.expect_worked_on()
        self.assertIn("m3", self.flags("Trash"))
        remote.run(SEND, ALICE, BOB, "by-thunderbird")
        self.expect_sent("by-thunderbird")
        self.suite.deliver("new-for-thunderbird")
        start = time.monotonic()
        remote.run('await until(() => header(folder("INBOX"), "new-for-thunderbird"), "new mail", 3);')
        self.assertLess(time.monotonic() - start, 3)
