// swift-tools-version: 6.2
import PackageDescription

/// In `.ci/run` warnings are errors. In other builds they are not, so that the new warnings of a newer compiler break no build.
let warnings: [SwiftSetting] = Context.environment["WARNINGS_ARE_ERRORS"] == nil ? [] : [.treatAllWarnings(as: .error)]

/// The settings of every target: Swift 6 mode, and the upcoming features that make imports, existentials and executors explicit.
let settings: [SwiftSetting] =
    warnings + [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ]

/// The commit that `--version` prints. `cluster/run` passes it in REALERTIME_COMMIT; otherwise it is read from git.
let commit =
    Context.environment["REALERTIME_COMMIT"]
    ?? Context.gitInformation.map { String($0.currentCommit.prefix(12)) + ($0.hasUncommittedChanges ? "-dirty" : "") } ?? "unknown"

let package = Package(
    name: "realertime",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "realertime", targets: ["realertime"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift.git", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: [
        // JSON text: a scanner, a reader of bounded records, a writer. Imports no other module.
        .target(name: "JSON", swiftSettings: settings),
        // The parts that every listening socket needs: its address, and a pause when the system has no free descriptors.
        .target(name: "Sockets", dependencies: [.product(name: "NIOCore", package: "swift-nio")], swiftSettings: settings),
        // Partition, grant, process identity, and the partition of a channel. Pipeline and Coordination share only this module.
        .target(name: "Partitioning", swiftSettings: settings),
        // Parameters and results of operators' calls, with their JSON. The cluster makes the results, the gateway sends them, the commands read them.
        .target(name: "AdminAPI", dependencies: ["JSON"], swiftSettings: settings),
        // Names that subscribers see in URLs and notices: transports, reasons for gaps. Imports no other module.
        .target(name: "SubscriberAPI", swiftSettings: settings),
        // Code that options of several commands share: reading a file, the API token.
        .target(name: "Options", dependencies: [.product(name: "ArgumentParser", package: "swift-argument-parser")], swiftSettings: settings),
        // The stages of an event: publisher, sequencer, fanout. Independent of HTTP, SQLite and ZooKeeper.
        .target(
            name: "Pipeline",
            dependencies: [
                "JSON",
                "Partitioning",
                "SubscriberAPI",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // Membership of the cluster and ownership of partitions. Independent of Pipeline.
        .target(
            name: "Coordination",
            dependencies: [
                "AdminAPI", "CZooKeeper", "JSON", "Partitioning", .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ], swiftSettings: settings),
        // Apache ZooKeeper's C client, from the system.
        .systemLibrary(name: "CZooKeeper", providers: [.apt(["libzookeeper-mt-dev"])]),
        // hiredis, the system's reader of Redis replies.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        // The logs.
        .target(
            name: "Storage",
            dependencies: [
                "CHiredis",
                "Partitioning",
                "Pipeline",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings
        ),
        // Connections between nodes. Independent of events, view and configuration.
        .target(
            name: "Link",
            dependencies: [
                "JSON",
                "Partitioning",
                "Sockets",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings
        ),
        // The data path between the nodes of a cluster.
        .target(
            name: "Relay",
            dependencies: [
                "Link",
                "Partitioning",
                "Pipeline",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // The two ports: subscribers' transports and the API. Imports Pipeline. Calls its node and the cluster only through Swift protocols.
        .target(
            name: "Gateway",
            dependencies: [
                "AdminAPI",
                "JSON",
                "Partitioning",
                "Pipeline",
                "Sockets",
                "SubscriberAPI",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // The process: configuration, lifecycle, and the wiring of all parts.
        .target(
            name: "Node",
            dependencies: [
                "AdminAPI",
                "CPages",
                "Coordination",
                "Gateway",
                "JSON",
                "Link",
                "Options",
                "Partitioning",
                "Pipeline",
                "Relay",
                "Sockets",
                "Storage",
                "SubscriberAPI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings
        ),
        // The commands. They communicate with nodes only over HTTP.
        .target(
            name: "Commands",
            dependencies: [
                "AdminAPI", "JSON", "Options", "SubscriberAPI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // The load tool. It uses none of our protocols, so that it measures every server in the same way.
        .target(
            name: "Load",
            dependencies: [
                "JSON", "Options",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: settings
        ),
        // The commit, as a C string: a manifest cannot pass a string to a Swift target.
        .target(name: "CBuild", cSettings: [.define("REALERTIME_COMMIT", to: "\"\(commit)\"")]),
        // Returns memory to the system that only the start needed. It is in C, because the C library shows a program its own segments only in C.
        .target(name: "CPages"),
        // The executable: it connects the modules.
        .executableTarget(
            name: "realertime",
            dependencies: [
                "CBuild", "Commands", "Load", "Node",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),
        // Code that test targets share: a seeded generator, clocks, folders, sockets, processes, waiting for a condition.
        .target(name: "TestKit", path: "Tests/TestKit", swiftSettings: settings),
        // Code that tests of the stages share: a log with faults, channels and positions.
        .target(
            name: "PipelineTestKit", dependencies: ["Partitioning", "Pipeline", .product(name: "NIOCore", package: "swift-nio")],
            path: "Tests/PipelineTestKit", swiftSettings: settings),
        .testTarget(name: "PartitioningTests", dependencies: ["Partitioning"], swiftSettings: settings),
        .testTarget(
            name: "PipelineTests",
            dependencies: [
                "JSON",
                "Partitioning",
                "Pipeline",
                "PipelineTestKit",
                "SubscriberAPI",
                "TestKit",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ], swiftSettings: settings),
        .testTarget(
            name: "CoordinationTests",
            dependencies: [
                "AdminAPI", "Coordination", "JSON", "Partitioning", "TestKit", .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            ], swiftSettings: settings),
        .testTarget(
            name: "StorageTests",
            dependencies: [
                "Partitioning", "PipelineTestKit", "Storage", "TestKit", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(name: "SocketsTests", dependencies: ["Sockets"], swiftSettings: settings),
        .testTarget(
            name: "LinkTests",
            dependencies: [
                "Link", "Partitioning", "Sockets", "TestKit", .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "RelayTests",
            dependencies: [
                "Link", "Partitioning", "Pipeline", "PipelineTestKit", "Relay", "Sockets", "Storage", "TestKit",
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "AdminAPI", "Gateway", "JSON", "Partitioning", "PipelineTestKit", "Storage", "SubscriberAPI", "TestKit",
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(name: "NodeTests", dependencies: ["AdminAPI", "JSON", "Node", "Partitioning", "TestKit"], swiftSettings: settings),
        .testTarget(
            name: "CommandsTests",
            dependencies: [
                "AdminAPI", "Commands", "JSON", "Options", "SubscriberAPI", "TestKit", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ], swiftSettings: settings),
        // Check the dependencies between modules and folders, from the text of the sources.
        .testTarget(name: "ArchitectureTests", swiftSettings: settings),
        .testTarget(name: "LoadTests", dependencies: ["Load"], swiftSettings: settings),
    ]
)

// `cluster/test --sanitize` builds only these test targets and their dependencies. With a sanitizer, the first build of all other targets takes ten minutes.
if let names = Context.environment["ONLY_TEST_TARGETS"]?.split(separator: ",").map(String.init) {
    var kept: Set<String> = []
    func keep(_ name: String) {
        guard kept.insert(name).inserted, let target = package.targets.first(where: { $0.name == name }) else { return }
        for case .byNameItem(let name, _) in target.dependencies { keep(name) }
    }
    names.forEach(keep)
    package.targets.removeAll { !kept.contains($0.name) }
    package.products = []
}
