// `martlet group history`: why a group rebalanced. What a coordinator has seen is not in the log; it tells it over its admin port.
import ArgumentParser
import ConfigDefinitions
import NIOCore
import NIOPosix
import Primitives

struct GroupHistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Show when a group rebalanced, and who or what caused it.",
        discussion: """
            The broker that coordinates the group keeps its last rebalances in memory and tells them over its admin port \
            (martlet.admin.listeners). Name the admin ports of all brokers, or of the coordinator that `martlet group describe` names.
            """)

    @Argument(help: "Name of the group.")
    var group: String

    @Option(help: "Admin port of a broker. May be given several times.")
    var admin: [String] = ["127.0.0.1:9644"]

    @OptionGroup var output: OutputOptions

    func run() async throws {
        var problems: [String] = []
        for text in admin {
            guard let address = HostAndPort(text) else { throw ValidationError("--admin '\(text)' is not HOST:PORT.") }
            do {
                let (status, body) = try await AdminPort.get("/groups/history?group=\(AdminPort.escaped(group))", from: address)
                if status == 200 { return try show(body) }
                problems.append("\(text): \(status == 421 ? "another broker coordinates the group" : body)")
            } catch let error as CommandFailure {
                throw error
            } catch {
                problems.append("\(text) cannot be asked: \(error)")
            }
        }
        throw CommandFailure("no broker told the history of group '\(group)'\n" + problems.joined(separator: "\n"))
    }

    private func show(_ body: String) throws {
        guard let document = try? JSONValue(parsing: body), case .object(let object) = document,
            case .array(let rebalances)? = object["rebalances"]
        else {
            throw CommandFailure("the broker's answer is not understood: \(body)")
        }
        var table = TextTable("TIME", "TYPE", "EPOCH", "REASON", "CLIENT", "HOST", "MEMBER", "DETAIL")
        for case .object(let entry) in rebalances {
            func text(_ key: String) -> String { entry[key]?.stringValue ?? "" }
            let instance = text("groupInstanceId")
            table.add(
                TimeText.of(entry["timestamp"]?.integerValue ?? 0), text("type"), "\(entry["epoch"]?.integerValue ?? 0)",
                text("reason"), text("clientId"), text("host"), instance.isEmpty ? text("memberId") : "\(text("memberId")) (\(instance))",
                text("detail"))
        }
        output.show(document, rebalances.isEmpty ? "The coordinator has seen no rebalance of group '\(group)'." : table.text)
    }
}

/// A node's admin port, asked once.
enum AdminPort {
    /// - Returns: status and body.
    static func get(_ path: String, from address: HostAndPort) async throws -> (Int, String) {
        let group = MultiThreadedEventLoopGroup.singleton
        let promise = group.next().makePromise(of: ByteBuffer.self)
        do {
            let channel = try await ClientBootstrap(group: group).connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Collector(promise)) }
                }.connect(host: address.host, port: address.port).get()
            // Version 1.0 of HTTP ends an answer with the connection.
            try await channel.writeAndFlush(ByteBuffer(string: "GET \(path) HTTP/1.0\r\nhost: \(address.host)\r\n\r\n"))
        } catch {
            promise.fail(error)
        }
        let answer = String(buffer: try await promise.futureResult.get())
        guard let end = answer.firstRange(of: "\r\n\r\n"), let status = answer.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else {
            throw CommandFailure("\(address) does not answer as an admin port does")
        }
        return (status, String(answer[end.upperBound...]))
    }

    /// With everything escaped that is not a letter, a digit or one of '-._~'.
    static func escaped(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            let character = Character(Unicode.Scalar(byte))
            if byte < 0x80, character.isLetter || character.isNumber || "-._~".contains(character) {
                result.append(character)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        /// Far beyond any answer.
        private static let maximumBytes = 16 << 20

        private let promise: EventLoopPromise<ByteBuffer>
        private var bytes = ByteBuffer()

        init(_ promise: EventLoopPromise<ByteBuffer>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var part = unwrapInboundIn(data)
            bytes.writeBuffer(&part)
            if bytes.readableBytes > Self.maximumBytes { context.close(promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) { promise.succeed(bytes) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            promise.fail(error)
            context.close(promise: nil)
        }
    }
}
