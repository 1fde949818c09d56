// Holding clients back: the answer leaves at once and says for how long, and the connection takes nothing until then (KIP-124, KIP-219).
import Authorization
import ClusterMetadata
import KafkaWire
import Network
import Primitives

extension ConnectionState {
    /// Per cent of a thread for one second: what the request in progress has taken of this connection's event loop.
    func handlingPercent(since receivedAt: Int64) -> Double {
        let nanoseconds = handlingNanoseconds > 0 ? handlingNanoseconds : SystemClock.monotonicNanoseconds() - receivedAt
        return Double(nanoseconds) * 100 / 1_000_000_000
    }
}

extension BrokerServices {
    /// Counts a produce request, once its records are appended, and holds its client back if that was too much.
    ///
    /// - Returns: milliseconds, for the answer. Without acknowledgements only bytes count, as in Kafka.
    func throttleProduce(_ context: RequestContext, _ state: ConnectionState) -> Int32 {
        guard quotas.produce.isActive || quotas.request.isActive else { return 0 }
        let now = SystemClock.monotonicMilliseconds()
        let user = context.principal.name
        let client = context.clientID ?? ""
        let forBytes = quotas.produce.record(Double(state.requestBytes), user: user, clientID: client, now: now)
        let forTime =
            state.produce.acks == 0
            ? 0 : quotas.request.record(state.handlingPercent(since: context.receivedAt), user: user, clientID: client, now: now)
        return throttle(context, quotas.produce, forBytes, forTime, now)
    }

    /// Counts the answer to a consumer's fetch. When it is too much the client gets an empty one and asks again later.
    ///
    /// - Parameter bytes: of the whole answer.
    /// - Returns: milliseconds; 0 when the answer may leave.
    func throttleFetch(_ context: RequestContext, _ state: ConnectionState, bytes: Int) -> Int32 {
        let now = SystemClock.monotonicMilliseconds()
        let user = context.principal.name
        let client = context.clientID ?? ""
        let forTime = quotas.request.record(state.handlingPercent(since: context.receivedAt), user: user, clientID: client, now: now)
        let forBytes = quotas.fetch.record(Double(bytes), user: user, clientID: client, now: now)
        if max(forTime, forBytes) > 0 { quotas.fetch.takeBack(Double(bytes), user: user, clientID: client, now: now) }
        return throttle(context, quotas.fetch, forBytes, forTime, now)
    }

    private func throttle(
        _ context: RequestContext, _ bytes: ClientRateQuota, _ forBytes: Int64, _ forTime: Int64, _ now: Int64
    ) -> Int32 {
        let milliseconds = max(forBytes, forTime)
        guard milliseconds > 0 else { return 0 }
        context.connection.throttle(milliseconds: milliseconds)
        (forBytes > forTime ? bytes : quotas.request).noteThrottle(
            milliseconds: milliseconds, user: context.principal.name, clientID: context.clientID ?? "", now: now)
        return Int32(clamping: milliseconds)
    }

    /// The most bytes that a consumer can be given at once under its quota: an answer beyond that would be held back for ever.
    func maximumFetchBytes(_ context: RequestContext) -> Int {
        guard let most = quotas.fetch.maximumAtOnce(user: context.principal.name, clientID: context.clientID ?? "") else { return .max }
        return most < Double(Int32.max) ? Int(most) : Int(Int32.max)
    }

    /// Lets addresses connect only as fast as the metadata say.
    func followAddressRates(_ network: NetworkServer) {
        metadataRuntime.subscribe { [weak network] publication in
            guard publication.changes.clientQuotas.contains(where: { $0.parts.first?.type == "ip" }) else { return }
            network?.update(AddressRates(publication.image.clientQuotas))
        }
    }
}

extension AddressRates {
    init(_ image: ClientQuotasImage) {
        self.init()
        for (entity, values) in image.byEntity {
            guard let part = entity.parts.first, part.type == "ip", let rate = values["connection_creation_rate"] else { continue }
            if let name = part.name {
                if let address = Self.canonical(name) { byAddress[address] = Int(rate) }
            } else {
                byDefault = Int(rate)
            }
        }
    }
}

extension Responder {
    /// Encodes and sends the response. May be called from any thread.
    ///
    /// - Parameter milliseconds: for how long the controller wants the client held back.
    func send(_ response: some KafkaResponse, throttledFor milliseconds: Int32 = 0) {
        guard quotas.request.isActive || milliseconds > 0 else { return write(response) }
        connection.withConnection { connection in
            guard let state = connection.context as? ConnectionState else { return write(response) }
            let throttle = max(Int64(milliseconds), timeQuotaMilliseconds(state))
            connection.throttle(milliseconds: throttle)
            write(throttle > 0 ? response.throttled(milliseconds: Int32(clamping: throttle)) : response)
        }
    }

    /// For how long the client has to be held back because of the time that its requests take. Work between brokers is exempt.
    private func timeQuotaMilliseconds(_ state: ConnectionState) -> Int64 {
        guard quotas.request.isActive, !apiKey.isClusterAction else { return 0 }
        let now = SystemClock.monotonicMilliseconds()
        let user = state.authentication.principal.name
        let client = clientID ?? ""
        let wait = quotas.request.record(state.handlingPercent(since: receivedAt), user: user, clientID: client, now: now)
        if wait > 0 { quotas.request.noteThrottle(milliseconds: wait, user: user, clientID: client, now: now) }
        return wait
    }
}

extension KafkaResponse {
    /// The response with its throttle time, if it has room for one.
    fileprivate func throttled(milliseconds: Int32) -> Self {
        guard var response = self as? any ThrottledResponse else { return self }
        response.throttleTimeMs = milliseconds
        return response as? Self ?? self
    }
}
