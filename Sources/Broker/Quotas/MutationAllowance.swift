// What a client may still have the controller create and delete (KIP-599). Newer versions of the requests are refused what goes beyond;
// older ones get it and are held back afterwards.
import Controlling
import KafkaWire
import Primitives
import Synchronization

/// One request's part in its client's quota of mutations.
final class MutationAllowance: Sendable {
    private let quota: ClientRateQuota
    private let user: String
    private let clientID: String
    private let isStrict: Bool
    /// When the client may go on, in monotonic milliseconds.
    private let end = Mutex<Int64>(0)

    init(_ quota: ClientRateQuota, user: String, clientID: String, isStrict: Bool) {
        self.quota = quota
        self.user = user
        self.clientID = clientID
        self.isStrict = isStrict
    }

    /// Takes tokens for that many partitions.
    ///
    /// - Throws: THROTTLING_QUOTA_EXCEEDED when there are none and the request is refused for it.
    func take(_ partitions: Int) throws(RequestFailure) {
        let now = SystemClock.monotonicMilliseconds()
        let (taken, wait) = quota.takeTokens(Double(partitions), isStrict: isStrict, user: user, clientID: clientID, now: now)
        if wait > 0 { end.withLock { $0 = now + wait } }
        if !taken { throw RequestFailure(.throttlingQuotaExceeded) }
    }

    /// For how long the client is to be held back from now on.
    var milliseconds: Int32 {
        Int32(clamping: max(0, end.withLock { $0 } - SystemClock.monotonicMilliseconds()))
    }

    /// The response with that time in it.
    func complete<Response: ThrottledResponse>(_ response: Response) -> Response {
        let milliseconds = milliseconds
        guard milliseconds > 0 else { return response }
        quota.noteThrottle(
            milliseconds: Int64(milliseconds), user: user, clientID: clientID, now: SystemClock.monotonicMilliseconds())
        var response = response
        response.throttleTimeMs = milliseconds
        return response
    }
}

extension ControllerServices {
    /// The sender's allowance; nil for this cluster's own requests, and where nobody has such a quota.
    func allowance(_ call: ControllerRequest, strictSince version: Int16) -> MutationAllowance? {
        guard quotas.controllerMutation.isActive, let principal = call.principal else { return nil }
        return MutationAllowance(
            quotas.controllerMutation, user: principal.name, clientID: call.clientID ?? "", isStrict: call.version >= version)
    }
}
