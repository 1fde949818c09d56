// Connections whose roles are turned round, between two servers over real sockets.
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Network

@Suite("Connections that are turned round")
struct TurnedConnectionTests {
    /// Answers ApiVersions and Vote.
    private static func serving() -> TestDelegate {
        TestDelegate { frame, connection in
            do {
                var reader = WireReader(frame)
                let header = try RequestHeader(fromFrame: &reader)
                if header.api == .apiVersions {
                    var answer = ApiVersionsResponse()
                    var vote = ApiVersionsResponse.ApiVersion()
                    vote.apiKey = ApiKey.vote.rawValue
                    vote.maxVersion = 1
                    answer.apiKeys = [vote]
                    return connection.send(response(try Frame.response(answer, version: 3, correlationId: header.correlationId)))
                }
                let request = try VoteRequest(from: &reader, version: header.requestApiVersion)
                var answer = VoteResponse()
                var topic = VoteResponse.TopicData()
                topic.topicName = String((request.clusterId ?? "").reversed())
                answer.topics = [topic]
                connection.send(
                    response(try Frame.response(answer, version: header.requestApiVersion, correlationId: header.correlationId)))
            } catch {
                connection.close(reason: "\(error)")
            }
        }
    }

    /// A connection from the group's loops to a port, over which `offer` was said and answered; what the answer was goes to nobody.
    private static func offered(to port: Int, on group: any EventLoopGroup) throws -> any Channel {
        final class AnswerReader: ChannelInboundHandler, RemovableChannelHandler {
            typealias InboundIn = ByteBuffer
            let answered: EventLoopPromise<Void>
            init(_ answered: EventLoopPromise<Void>) { self.answered = answered }
            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
                answered.succeed()
            }
        }
        let answered = group.next().makePromise(of: Void.self)
        let channel = try ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AnswerReader(answered)) }
            }
            .connect(host: "127.0.0.1", port: port).wait()
        try channel.writeAndFlush(ByteBuffer(bytes: TestClient.framed(Array("offer".utf8)))).wait()
        try answered.futureResult.wait()
        return channel
    }

    @Test("The side that accepted a connection sends requests over it, and the side that opened it serves them")
    func turned() throws {
        let turned = Mutex<[EventLoopFuture<any Channel>]>([])
        let accepting = TestDelegate { _, connection in
            var answer = ByteBuffer(bytes: TestClient.framed(Array("yes".utf8)))
            let future = connection.turnRound(answering: answer.readSlice(length: answer.readableBytes)!)
            turned.withLock { $0.append(future) }
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        defer { try? group.syncShutdownGracefully() }
        let served = Self.serving()
        let source = NetworkServer(
            listeners: [ListenerEndpoint(name: "INNER", host: "127.0.0.1", port: 0)], eventLoopGroup: group, delegate: served,
            logger: LogCollector().logger)
        defer { source.close(drainingFor: .seconds(5)) }
        try withServer(accepting, threads: 2) { _, port in
            let channel = try Self.offered(to: port, on: group)
            let isServed = try channel.eventLoop.submit {
                source.adopt(channel, listener: "INNER") { connection in connection.context = nil }
            }.wait()
            #expect(isServed)
            let future = try #require(turned.withLock { $0.first })
            let theirs = try future.wait()
            // The side that gave it away has nothing to do with it any more.
            #expect(accepting.closed.load(ordering: .sequentiallyConsistent) == 1)
            var options = PeerOptions(clientID: "test")
            options.dialler = { _, _ in theirs.eventLoop.makeSucceededFuture(theirs) }
            let ownGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let peers = PeerConnections(options: options, eventLoopGroup: ownGroup)
            defer {
                peers.close()
                try? ownGroup.syncShutdownGracefully()
            }
            let answers = Mutex<[String]>([])
            let long = String(repeating: "abc", count: 10_000)
            for text in ["one", long, "three"] {
                var request = VoteRequest()
                request.clusterId = text
                peers.send(request, to: PeerAddress(id: 7, host: "far", port: 1), timeoutMilliseconds: 10_000) { result in
                    answers.withLock { $0.append((try? result.get().topics.first?.topicName) ?? "\(result)") }
                }
            }
            #expect(eventually { answers.withLock { $0.count } == 3 })
            let isSame = answers.withLock { $0 } == ["eno", String(long.reversed()), "eerht"]
            #expect(isSame)
            // What the serving side closes is noticed on the other.
            channel.close(promise: nil)
            #expect(eventually { !theirs.isActive && served.closed.load(ordering: .sequentiallyConsistent) == 1 })
        }
    }

    @Test("A side that does not turn is hung up on")
    func noTurn() throws {
        let turned = Mutex<EventLoopFuture<any Channel>?>(nil)
        let accepting = TestDelegate { _, connection in
            let future = connection.turnRound(answering: ByteBuffer(bytes: TestClient.framed([1])))
            turned.withLock { $0 = future }
        }
        try withServer(accepting) { _, port in
            let client = try TestClient(port: port)
            try client.writeFrame([1, 2, 3])
            #expect(try client.readFrame() == [1])
            // An ordinary request instead of the mark.
            try client.writeFrame([4, 5, 6])
            #expect(client.isClosedByServer())
            let future = try #require(turned.withLock { $0 })
            #expect(throws: (any Error).self) { try future.wait() }
        }
    }
}
