// What producers, consumers and admin clients have in common: where the cluster is and how patient to be.
import Logging
import NIOCore
import NIOPosix

/// A host and a port.
public struct BrokerAddress: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`, `host` (port 9092) or `[ipv6]:port`.
    ///
    /// - Throws: `invalidArgument` for anything else.
    public init(_ text: String) throws(KafkaError) {
        var host = Substring(text)
        var port = 9092
        if let colon = text.lastIndex(of: ":"), text.hasPrefix("[") ? text[..<colon].hasSuffix("]") : text.firstIndex(of: ":") == colon {
            guard let number = Int(text[text.index(after: colon)...]), (1...65535).contains(number) else {
                throw KafkaError(.invalidArgument, "'\(text)' is no address: the port is a number from 1 to 65535")
            }
            port = number
            host = text[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw KafkaError(.invalidArgument, "'\(text)' is no address: the host is missing") }
        self.init(host: String(host), port: port)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Settings that every kind of client shares. The defaults are those of Apache Kafka's clients.
///
/// ```swift
/// let configuration = try ClientConfiguration(bootstrapServers: "localhost:9092,localhost:9093")
/// ```
public struct ClientConfiguration: Sendable {
    /// Where to begin; every broker is learned from any one of these.
    public var bootstrapServers: [BrokerAddress]
    /// Shown in the brokers' logs and metrics.
    public var clientID = "martlet"
    /// How long one request waits for its response (`request.timeout.ms`).
    public var requestTimeout: Duration = .seconds(30)
    /// How long an operation goes on trying (`default.api.timeout.ms`).
    public var operationTimeout: Duration = .seconds(60)
    /// How long connecting may take.
    public var connectTimeout: Duration = .seconds(10)
    /// After this time metadata is asked for again even if nothing hints at a change (`metadata.max.age.ms`).
    public var metadataMaximumAge: Duration = .seconds(300)
    /// Waiting time before the first reconnect; it doubles with every failure, with jitter.
    public var reconnectBackoff: Duration = .milliseconds(50)
    public var maximumReconnectBackoff: Duration = .seconds(1)
    /// Waiting time before a request is repeated; it doubles with every failure, with jitter.
    public var retryBackoff: Duration = .milliseconds(100)
    public var maximumRetryBackoff: Duration = .seconds(1)
    /// Requests that are on their way on one connection at a time (`max.in.flight.requests.per.connection`).
    public var maximumInFlightRequests = 5
    /// Requests that wait on one connection for their turn; beyond that requests fail instead of piling up.
    public var maximumQueuedRequests = 10_000
    /// Bytes; a larger response ends the connection.
    public var maximumResponseSize = 256 << 20
    /// TLS and SASL (`security.protocol` and the rest).
    public var security = ClientSecurity.none
    /// Where connections live. The default is the process-wide group, which needs no shutdown.
    public var eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    /// Hands over open channels, on any event loop, instead of connecting to a host and a port; nil for ordinary connections.
    package var dialler: (@Sendable (_ host: String, _ port: Int) -> EventLoopFuture<any Channel>)?
    public var logger = Logger(label: "martlet.client", factory: { _ in SwiftLogNoOpLogHandler() })

    public init(bootstrapServers: [BrokerAddress]) {
        self.bootstrapServers = bootstrapServers
    }

    /// - Parameter bootstrapServers: `host:port`, several separated by commas.
    /// - Throws: `invalidArgument` when the list is empty or holds something that is no address.
    public init(bootstrapServers: String) throws(KafkaError) {
        self.bootstrapServers = []
        for part in bootstrapServers.split(separator: ",") {
            let text = part.drop(while: { $0 == " " })
            let end = text.lastIndex { $0 != " " }.map { text.index(after: $0) } ?? text.startIndex
            self.bootstrapServers.append(try BrokerAddress(String(text[..<end])))
        }
        guard !self.bootstrapServers.isEmpty else { throw KafkaError(.invalidArgument, "the list of bootstrap servers is empty") }
    }
}

extension Duration {
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
    }

    package var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }

    /// For the protocol's timeouts.
    package var clampedMilliseconds: Int32 { Int32(clamping: wholeMilliseconds) }
}
