// What carries a connection to another node: as a rule a socket on the connection's own event loop, else one that somebody handed over.
import NIOCore

/// The way to the other node, as its connection uses it. Used on the connection's event loop.
protocol PeerTransport: AnyObject {
    /// Which attempt to connect this came from.
    var attempt: Int { get }
    func write(_ head: ByteBuffer, _ body: ByteBuffer?)
    func flush()
    /// Closes without further news.
    func close()
}

extension PeerChannelHandler: PeerTransport {}
