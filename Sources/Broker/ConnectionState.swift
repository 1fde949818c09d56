// What the broker remembers of a connection. Lives on the connection's event loop.
import Primitives
import ShareCoordination

/// One connection's state: kept in `Connection.context`.
final class ConnectionState {
    /// Who the client is, once that is settled.
    let authentication: ConnectionAuthentication
    /// Bytes of the request in progress, and the time that the event loop has spent on it, once that is known. For quotas.
    var requestBytes = 0
    var handlingNanoseconds: Int64 = 0
    /// Filled anew by every produce request, so that small requests allocate nothing.
    var produce = ProduceRequestView()
    /// The produce requests that wait for their replicas.
    var pendingProduces = PendingProduces()
    /// The fetch that waits for records, if there is one.
    var fetch: FetchOperation?
    /// Of the follower that fetches on this connection.
    var pace = FollowerPace()
    /// Under which id the client pushes metrics, if it does.
    var telemetryInstance: KafkaUUID?
    /// The share fetch that waits for records, if there is one.
    var shareFetch: ShareFetchOperation?
    /// Share sessions that were used on this connection; those that it began end with it.
    var shareSessions: Set<ShareSessionKey> = []
    /// Takes back the offer of this connection to a link, if it was offered to one.
    var linkOffer: (@Sendable () -> Void)?
    /// When Metadata was last answered; monotonic milliseconds, nil before the first answer.
    var metadataAnsweredAt: Int64?
    /// As ApiVersions told (KIP-511).
    var clientSoftwareName = "unknown"
    var clientSoftwareVersion = "unknown"

    init(_ authentication: ConnectionAuthentication) {
        self.authentication = authentication
    }
}
