// The upper side of the boundary: what the broker implements to be given requests.
import NIOCore

/// Receives frames. All calls for one connection come on that connection's event loop; calls for different connections come
/// from several loops at once.
public protocol ConnectionDelegate: AnyObject, Sendable {
    /// A connection was accepted and admitted.
    func connectionOpened(_ connection: Connection)

    /// One request, without its four-byte size.
    ///
    /// Until it is answered with `Connection.send` or `Connection.completeWithoutResponse`, now or later, or its answer is deferred with
    /// `Connection.deferAnswer`, the connection delivers nothing else. The bytes belong to the request until then and nobody else reads
    /// them, so that its record batches may be changed in place (`withVeryUnsafeMutableBytes`); a plain `set…` on a slice would copy,
    /// because the connection keeps a reference for using the memory again. A slice kept beyond the answer stays valid but takes its memory out of that circulation.
    func received(frame: ByteBuffer, on connection: Connection)

    /// The connection is gone, whoever closed it; a request in progress need not be answered any more. Called once for every
    /// `connectionOpened`.
    func connectionClosed(_ connection: Connection)
}
