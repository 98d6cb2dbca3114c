// swift-tools-version: 6.2
import PackageDescription

// As any other package would have it: docs/library.md.
let package = Package(
    name: "martlet-examples",
    dependencies: [.package(name: "martlet", path: "..")],
    targets: [
        .executableTarget(
            name: "receive",
            dependencies: [.product(name: "MartletSMTP", package: "martlet")])
    ]
)
