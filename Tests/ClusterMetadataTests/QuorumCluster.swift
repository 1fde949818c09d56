// Several members of a metadata quorum in one process, each with a directory and a listener of its own, over loopback.
import ClusterMetadata
import Consensus
import Controlling
import Foundation
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import NIOPosix
import Network
import Primitives
import Storage
import Synchronization
import Testing

@testable import Runtime

/// Answers ApiVersions and the quorum's requests for the runtime that is there at the moment.
final class QuorumListener: ConnectionDelegate {
    private let runtime = Mutex<MetadataRuntime?>(nil)
    /// While set, nothing is answered: the node is cut off.
    let isCutOff = Atomic(false)

    func serve(_ runtime: MetadataRuntime?) { self.runtime.withLock { $0 = runtime } }

    func connectionOpened(_ connection: Connection) {}
    func connectionClosed(_ connection: Connection) {}

    func received(frame: ByteBuffer, on connection: Connection) {
        guard !isCutOff.load(ordering: .relaxed) else { return connection.close(reason: "cut off") }
        do {
            var reader = WireReader(frame)
            let header = try RequestHeader(fromFrame: &reader)
            let handle = connection.handle
            let api = try #require(header.api)
            if api == .apiVersions {
                var response = ApiVersionsResponse()
                response.apiKeys = (QuorumRequest.apis + [.apiVersions]).map { api in
                    var version = ApiVersionsResponse.ApiVersion()
                    version.apiKey = api.rawValue
                    version.minVersion = api.validVersions.lowerBound
                    version.maxVersion = api.validVersions.upperBound
                    return version
                }
                let body = try response.encoded(version: header.requestApiVersion)
                return handle.send(Self.frame(api, header, body))
            }
            var body = frame
            body.moveReaderIndex(forwardBy: reader.position)
            guard let runtime = runtime.withLock({ $0 }),
                let request = try QuorumRequest(api, version: header.requestApiVersion, body: body)
            else { return connection.close(reason: "nobody is there") }
            runtime.handle(request, version: header.requestApiVersion, listenerName: "CONTROLLER") { response in
                guard let response, let body = try? response.encoded(version: header.requestApiVersion) else {
                    return handle.close(reason: "no answer")
                }
                handle.send(Self.frame(api, header, body))
            }
        } catch {
            connection.close(reason: "\(error)")
        }
    }

    private static func frame(_ api: ApiKey, _ header: RequestHeader, _ body: ByteBuffer) -> OutboundFrame {
        var head = ByteBuffer()
        head.writeMultipleIntegers(Int32(0), header.correlationId)
        if api.responseHeaderVersion(header.requestApiVersion) >= 1 { head.writeInteger(UInt8(0)) }
        var frame = OutboundFrame(head)
        frame.append(body)
        return frame
    }
}

/// A quorum whose members can be stopped, killed, cut off and started again.
final class QuorumCluster {
    struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    final class Member {
        let id: NodeID
        let path: String
        let listener = QuorumListener()
        let network: NetworkServer
        let port: Int
        var runtime: MetadataRuntime?
        var directories: LogDirectories?
        var isObserver = false

        init(id: NodeID, path: String, port: Int, group: any EventLoopGroup) throws {
            self.id = id
            self.path = path
            network = NetworkServer(
                listeners: [ListenerEndpoint(name: "CONTROLLER", host: "127.0.0.1", port: port)], limits: NetworkLimits(),
                eventLoopGroup: group, delegate: listener, logger: QuorumCluster.logger)
            self.port = try network.start()[0].port
        }

        var endpoint: Voter.Endpoint { Voter.Endpoint(name: "CONTROLLER", host: "127.0.0.1", port: UInt16(port)) }
    }

    static var logger: Logger {
        var logger = Logger(label: "quorum") { label in StreamLogHandler.standardError(label: label) }
        logger.logLevel = ProcessInfo.processInfo.environment["MARTLET_TEST_LOG"] != "1" ? .critical : .debug
        return logger
    }

    static let clusterID = "quorum-cluster-0000000"
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let scratch: ScratchDirectory
    private(set) var members: [Member] = []
    var clusterID = QuorumCluster.clusterID
    var change: (inout MetadataRuntimeConfiguration) -> Void = { _ in }

    /// - Parameters:
    ///   - paths: formatted directories by node; nil for new ones.
    ///   - ports: where the controllers listen; anywhere by default.
    init(paths: [NodeID: String]? = nil, ports: [NodeID: Int] = [:], voters: Int = 3, observers: Int = 0) throws {
        scratch = try ScratchDirectory()
        for id in 1...NodeID(voters + observers) {
            let path = paths?[id] ?? "\(scratch.path)/\(id)"
            let member = try Member(id: id, path: path, port: ports[id] ?? 0, group: group)
            member.isObserver = Int(id) > voters
            members.append(member)
            if paths == nil { _ = try MetadataFormat(nodeID: id, clusterID: Self.clusterID, directories: [path]).run() }
        }
    }

    deinit {
        for member in members {
            stop(member.id)
            member.network.close(drainingFor: .milliseconds(1))
        }
        try? group.syncShutdownGracefully()
    }

    subscript(_ id: NodeID) -> Member { members[Int(id) - 1] }

    var voterSet: VoterSet { VoterSet(members.filter { !$0.isObserver }.map { Voter(id: $0.id, endpoints: [$0.endpoint]) }) }

    func start(_ id: NodeID) throws {
        let member = self[id]
        let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [member.path]))
        let directoryID = try #require(directories.directories[0].properties?.directoryID)
        var quorum = QuorumConfiguration(
            localID: id, localDirectoryID: directoryID, localEndpoints: member.isObserver ? [] : [member.endpoint], staticVoters: voterSet)
        quorum.canBecomeVoter = !member.isObserver
        // Short, so that the tests are.
        quorum.timing.electionTimeout = 300
        quorum.timing.electionBackoffMaximum = 100
        quorum.timing.fetchTimeout = 500
        quorum.timing.requestTimeout = 500
        quorum.timing.fetchMaximumWait = 100
        var configuration = MetadataRuntimeConfiguration(
            log: MetadataLogConfiguration(directory: member.path), quorum: quorum,
            controller: ControllerConfiguration(nodeID: id, clusterID: clusterID))
        configuration.flushesCommits = false
        change(&configuration)
        let runtime = try MetadataRuntime(
            configuration, directories: directories, network: QuorumNetwork(eventLoopGroup: group, peers: PeerOptions(clientID: "\(id)")),
            logger: Self.logger)
        member.runtime = runtime
        member.directories = directories
        member.listener.serve(runtime)
        try runtime.start()
    }

    func startAll() throws {
        for member in members { try start(member.id) }
    }

    func stop(_ id: NodeID, patience: Int64 = 500) {
        let member = self[id]
        member.listener.serve(nil)
        member.runtime?.close(patienceMilliseconds: patience)
        try? member.directories?.close([], brokerEpoch: -1, clean: false)
        member.runtime = nil
        member.directories = nil
    }

    /// The runtimes that run.
    var running: [MetadataRuntime] { members.compactMap(\.runtime) }

    /// The active member; waits for one.
    @discardableResult
    func waitForController(seconds: Double = 20, besides former: NodeID? = nil) throws -> Member {
        func active() -> Member? { members.first { $0.id != former && $0.runtime?.isActive == true } }
        try wait("an active controller", seconds: seconds) { active() != nil }
        guard let member = active() else { return try waitForController(seconds: seconds, besides: former) }
        return member
    }

    func wait(_ what: String, seconds: Double = 20, until condition: () -> Bool) throws {
        let deadline = NIODeadline.now() + .milliseconds(Int64(seconds * 1000))
        while !condition() {
            guard NIODeadline.now() < deadline else {
                throw TimedOut(description: "waited in vain for \(what): \(running.map(\.image.provenance))")
            }
            usleep(2000)
        }
    }

    /// All running members show the same image.
    func waitForAgreement(on offset: Offset? = nil) throws {
        func agrees() -> Bool {
            let images = running.map(\.image)
            guard let first = images.first, offset.map({ first.provenance.offset >= $0 }) ?? true else { return false }
            return images.allSatisfy { $0.provenance == first.provenance } && images.allSatisfy { $0.hasSameContents(as: first) }
        }
        do {
            try wait("agreement on the image", until: agrees)
        } catch {
            throw TimedOut(description: "\(error), differing in \(differences)")
        }
    }

    /// What the first running member's image does not share with the others'.
    private var differences: [String] {
        let images = running.map(\.image)
        guard let first = images.first else { return ["nothing: nobody runs"] }
        var names: [String] = []
        for image in images.dropFirst() {
            if image.features != first.features { names.append("features") }
            if image.cluster != first.cluster { names.append("cluster") }
            if image.topics != first.topics { names.append("topics") }
            if !image.configurations.hasSameContents(as: first.configurations) { names.append("configurations") }
            if image.clientQuotas != first.clientQuotas { names.append("client quotas") }
            if image.nextProducerID != first.nextProducerID { names.append("producer ids") }
            if image.security != first.security { names.append("security") }
        }
        return names
    }

    /// Sets a key of the cluster's default broker configuration: a record that needs no broker.
    static func set(_ value: String, in runtime: MetadataRuntime) throws(RequestFailure) {
        var request = IncrementalAlterConfigsRequest()
        var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
        resource.resourceType = 4
        resource.resourceName = ""
        var config = IncrementalAlterConfigsRequest.AlterableConfig()
        config.name = "log.retention.ms"
        config.configOperation = 0
        config.value = value
        resource.configs = [config]
        request.resources = [resource]
        let final = request
        _ = try runtime.submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.incrementalAlterConfigs(final) })
    }

    /// Sets it through whoever leads, however often that changes meanwhile.
    @discardableResult
    func set(_ value: String) throws -> MetadataRuntime {
        for _ in 0..<20 {
            let member = try waitForController()
            guard let runtime = member.runtime else { continue }
            let failure = Self.failure(of: { () throws(RequestFailure) in try Self.set(value, in: runtime) })
            guard let failure else { return runtime }
            if failure.code != .notController { throw failure }
        }
        throw TimedOut(description: "no controller stayed long enough")
    }

    static func failure(of body: () throws(RequestFailure) -> Void) -> RequestFailure? {
        do throws(RequestFailure) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    /// What the running members show of it.
    var values: [String?] { running.map { Self.value(in: $0.image) } }

    static func value(in image: MetadataImage) -> String? {
        image.configurations.values(of: .clusterDefault)["log.retention.ms"]
    }
}
