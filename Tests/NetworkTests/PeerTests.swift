// Outbound connections against a real listener.
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Network

/// A node that offers ApiVersions and Vote and answers the latter as a test says.
private final class Peer: Sendable {
    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    private let counter: Counter
    let delegate: TestDelegate
    /// Votes that arrived.
    var requests: Int { counter.value.load(ordering: .sequentiallyConsistent) }

    /// - Parameter answer: called with the vote's body; nil leaves it unanswered.
    init(versions: ClosedRange<Int16> = 0...1, answer: @escaping @Sendable (VoteRequest, Int16, Connection) -> VoteResponse?) {
        let counter = Counter()
        self.counter = counter
        delegate = TestDelegate { frame, connection in
            do {
                var reader = WireReader(frame)
                let header = try RequestHeader(fromFrame: &reader)
                if header.api == .apiVersions {
                    var response = ApiVersionsResponse()
                    var vote = ApiVersionsResponse.ApiVersion()
                    vote.apiKey = ApiKey.vote.rawValue
                    vote.minVersion = versions.lowerBound
                    vote.maxVersion = versions.upperBound
                    response.apiKeys = [vote]
                    let bytes = try Frame.response(response, version: 3, correlationId: header.correlationId)
                    return connection.send(outbound(bytes))
                }
                counter.value.wrappingAdd(1, ordering: .sequentiallyConsistent)
                let request = try VoteRequest(from: &reader, version: header.requestApiVersion)
                if let response = answer(request, header.requestApiVersion, connection) {
                    let bytes = try Frame.response(
                        response, version: header.requestApiVersion, correlationId: header.correlationId)
                    connection.send(outbound(bytes))
                }
            } catch {
                connection.close(reason: "\(error)")
            }
        }
    }
}

private func outbound(_ bytes: ByteBuffer) -> OutboundFrame { response(bytes) }

private func vote(_ cluster: String) -> VoteRequest {
    var request = VoteRequest()
    request.clusterId = cluster
    return request
}

/// The outcomes of requests, in order.
private final class Outcomes<Response: Sendable>: Sendable {
    private let all = Mutex<[Result<Response, PeerFailure>]>([])
    var values: [Result<Response, PeerFailure>] { all.withLock { $0 } }
    var completion: @Sendable (Result<Response, PeerFailure>) -> Void {
        { result in self.all.withLock { $0.append(result) } }
    }

    func waitFor(_ count: Int) -> [Result<Response, PeerFailure>] {
        _ = eventually { self.values.count >= count }
        return values
    }
}

private func withPeers(_ options: PeerOptions = PeerOptions(clientID: "test"), _ body: (PeerConnections) throws -> Void) throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let peers = PeerConnections(options: options, eventLoopGroup: group)
    defer {
        peers.close()
        try? group.syncShutdownGracefully()
    }
    try body(peers)
}

@Suite("Outbound connections")
struct PeerTests {
    private static func address(_ port: Int) -> PeerAddress { PeerAddress(id: 2, host: "127.0.0.1", port: port) }

    @Test("Answers come back in the highest version that both sides know, over one connection")
    func answers() throws {
        let peer = Peer(versions: 0...1) { request, version, _ in
            var response = VoteResponse()
            response.errorCode = version == 1 && request.clusterId == "c" ? .none : .inconsistentClusterId
            return response
        }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                let outcomes = Outcomes<VoteResponse>()
                for _ in 0..<20 {
                    peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                }
                let results = outcomes.waitFor(20)
                #expect(results.count == 20)
                for result in results {
                    let answer = try result.get()
                    #expect(answer.errorCode == .none)
                }
                #expect(peer.delegate.opened.load(ordering: .sequentiallyConsistent) == 1)
            }
        }
    }

    @Test("Large answers arrive whole")
    func largeAnswers() throws {
        let text = String(repeating: "x", count: 30_000)
        let peer = Peer { _, _, _ in
            var response = VoteResponse()
            response.topics = (0..<100).map { _ in
                var topic = VoteResponse.TopicData()
                topic.topicName = text
                return topic
            }
            return response
        }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                let outcomes = Outcomes<VoteResponse>()
                for _ in 0..<5 {
                    peers.send(vote(text), to: Self.address(port), timeoutMilliseconds: 10_000, completion: outcomes.completion)
                }
                for result in outcomes.waitFor(5) {
                    let topics = try result.get().topics
                    #expect(topics.count == 100 && topics.allSatisfy { $0.topicName == text })
                }
            }
        }
    }

    @Test("A request in a version that the peer does not offer is not sent")
    func unsupportedVersion() throws {
        let peer = Peer(versions: 0...1) { _, _, _ in VoteResponse() }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                let outcomes = Outcomes<VoteResponse>()
                peers.send(vote("c"), to: Self.address(port), versions: 2...2, timeoutMilliseconds: 5000, completion: outcomes.completion)
                #expect(outcomes.waitFor(1).map(failure) == [.unsupportedVersion])
                let others = Outcomes<FetchResponse>()
                peers.send(FetchRequest(), to: Self.address(port), timeoutMilliseconds: 5000, completion: others.completion)
                #expect(others.waitFor(1).map(failure) == [.unsupportedVersion])
                #expect(peer.requests == 0)
            }
        }
    }

    @Test("What a peer offers is known once it was connected to")
    func offers() throws {
        let peer = Peer(versions: 0...1) { _, _, _ in VoteResponse() }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                #expect(peers.versions(of: Self.address(port)) == nil)
                let outcomes = Outcomes<VoteResponse>()
                peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                #expect(outcomes.waitFor(1).count == 1)
                #expect(peers.versions(of: Self.address(port)) == [ApiKey.vote.rawValue: 0...1])
            }
        }
    }

    @Test("A closing socket fails what is on its way at once, and the next request connects again")
    func disconnect() throws {
        let peer = Peer { request, _, connection in
            guard request.clusterId == "close" else { return VoteResponse() }
            connection.close(reason: "test")
            return nil
        }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                let outcomes = Outcomes<VoteResponse>()
                let began = NIODeadline.now()
                peers.send(vote("close"), to: Self.address(port), timeoutMilliseconds: 60_000, completion: outcomes.completion)
                guard case .disconnected? = outcomes.waitFor(1).first.flatMap(failure) else {
                    Issue.record("not disconnected: \(outcomes.values)")
                    return
                }
                #expect(NIODeadline.now() - began < .seconds(10))
                peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                #expect(throws: Never.self) { try outcomes.waitFor(2)[1].get() }
                #expect(peer.delegate.opened.load(ordering: .sequentiallyConsistent) == 2)
            }
        }
    }

    @Test("A late answer ends the connection; other requests to the peer go over a new one")
    func timeout() throws {
        let peer = Peer { request, _, _ in request.clusterId == "silence" ? nil : VoteResponse() }
        try withServer(peer.delegate) { _, port in
            try withPeers { peers in
                let outcomes = Outcomes<VoteResponse>()
                peers.send(vote("silence"), to: Self.address(port), timeoutMilliseconds: 50, completion: outcomes.completion)
                #expect(outcomes.waitFor(1).map(failure) == [.timedOut])
                peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                #expect(throws: Never.self) { try outcomes.waitFor(2)[1].get() }
            }
        }
    }

    @Test("Nobody listening is told at once, and attempts keep a growing distance")
    func unreachable() throws {
        var port = 0
        try withServer(TestDelegate.echo()) { _, bound in port = bound }
        var options = PeerOptions(clientID: "test")
        options.reconnectBackoffMilliseconds = 20
        options.reconnectBackoffMaximumMilliseconds = 80
        try withPeers(options) { peers in
            let outcomes = Outcomes<VoteResponse>()
            let began = NIODeadline.now()
            for count in 1...4 {
                peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                guard case .unreachable? = outcomes.waitFor(count).last.flatMap(failure) else {
                    Issue.record("reachable: \(outcomes.values)")
                    return
                }
            }
            // Three pauses of 20, 40 and 80 ms, each at least four fifths of that.
            #expect(NIODeadline.now() - began >= .milliseconds(112))
        }
    }

    @Test("Without anything to log in with no connection is made, and attempts go on")
    func nothingToLogInWith() throws {
        let peer = Peer { _, _, _ in VoteResponse() }
        let asked = Outcomes<VoteResponse>()
        try withServer(peer.delegate) { _, port in
            var options = PeerOptions(clientID: "test")
            options.credentials = {
                asked.completion(.failure(.closed))
                return nil
            }
            try withPeers(options) { peers in
                let outcomes = Outcomes<VoteResponse>()
                for count in 1...3 {
                    peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 5000, completion: outcomes.completion)
                    guard case .unreachable(let reason)? = outcomes.waitFor(count).last.flatMap(failure) else {
                        Issue.record("\(outcomes.values)")
                        return
                    }
                    #expect(reason.contains("no token"))
                }
                #expect(asked.values.count == 3)
                #expect(peer.delegate.opened.load(ordering: .sequentiallyConsistent) == 0)
            }
        }
    }

    @Test("What waits and what is on its way is bounded, and closing answers everything")
    func bounds() throws {
        let peer = Peer { _, _, _ in nil }
        try withServer(peer.delegate) { _, port in
            var options = PeerOptions(clientID: "test")
            options.maximumInFlight = 2
            options.maximumWaiting = 3
            try withPeers(options) { peers in
                let outcomes = Outcomes<VoteResponse>()
                for _ in 0..<2 {
                    peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 60_000, completion: outcomes.completion)
                }
                // Requests of one connection are worked on one at a time: the first has arrived, both are on their way.
                #expect(eventually { peer.requests == 1 })
                for _ in 0..<4 {
                    peers.send(vote("c"), to: Self.address(port), timeoutMilliseconds: 60_000, completion: outcomes.completion)
                }
                #expect(outcomes.waitFor(1).map(failure) == [.overloaded])
                peers.close()
                #expect(outcomes.waitFor(6).map(failure) == [.overloaded] + [PeerFailure](repeating: .closed, count: 5))
            }
        }
    }

    private func failure<Response>(_ result: Result<Response, PeerFailure>) -> PeerFailure? {
        guard case .failure(let failure) = result else { return nil }
        return failure
    }
}
