// A connection that this side opened and the other is to use: for links whose source opens the connections.
import KafkaMessages
import KafkaWire
import NIOCore

extension BrokerConnection {
    /// Gives the channel away, with nothing on its way over it; this connection is at its end.
    package func release() async throws -> any Channel {
        let (channel, handler) = (channel, handler)
        return try await channel.eventLoop.submit {
            guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
            let operations = channel.pipeline.syncOperations
            operations.removeHandler(context: try operations.context(handler: handler.value), promise: nil)
            return channel
        }.get()
    }
}
