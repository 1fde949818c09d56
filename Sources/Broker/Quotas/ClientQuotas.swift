// All kinds of client quotas of one node. The broker counts bytes and time of requests, the controller what it is asked to create and
// delete; each takes the quotas from the metadata.
import Authorization
import ClusterMetadata
import Configuration
import KafkaWire
import Observability
import Primitives
import Runtime
import Synchronization

/// A node's client quotas.
final class ClientQuotas: Sendable {
    let produce: ClientRateQuota
    let fetch: ClientRateQuota
    let request: ClientRateQuota
    let controllerMutation: ClientRateQuota

    private var all: [ClientRateQuota] { [produce, fetch, request, controllerMutation] }

    init(_ settings: QuotaSettings) {
        func quota(_ kind: ClientQuotaKind) -> ClientRateQuota {
            ClientRateQuota(kind, samples: settings.windows, sampleMilliseconds: settings.windowMilliseconds)
        }
        produce = quota(.produce)
        fetch = quota(.fetch)
        request = quota(.request)
        controllerMutation = ClientRateQuota(
            .controllerMutation, samples: settings.controllerWindows, sampleMilliseconds: settings.controllerWindowMilliseconds)
    }

    /// Takes the quotas from the metadata from now on.
    func follow(_ metadata: MetadataRuntime) {
        metadata.subscribe { [weak self] publication in
            guard !publication.changes.clientQuotas.isEmpty else { return }
            self?.update(publication.image.clientQuotas)
        }
    }

    func update(_ image: ClientQuotasImage) {
        for quota in all { quota.update(image) }
    }

    /// Writes what Kafka's rules for JMX make of its quota metrics.
    func write(to text: inout PrometheusText) {
        let now = SystemClock.monotonicMilliseconds()
        let readings = all.map { ($0.kind, $0.readings(now: now)) }
        guard readings.contains(where: { !$0.1.isEmpty }) else { return }
        func family(_ name: String, _ help: String, _ value: (ClientQuotaKind, ClientRateQuota.Reading) -> Double?) {
            text.family(name, .gauge, help: help)
            for (kind, readings) in readings {
                for reading in readings {
                    guard let value = value(kind, reading) else { continue }
                    text.sample(
                        name, ["resource": kind.name, "user": reading.subject.user, "clientId": reading.subject.clientID], value)
                }
            }
        }
        family("kafka_server_quota_byte_rate", "Bytes per second of clients, over the quotas' window.") { kind, reading in
            kind == .produce || kind == .fetch ? reading.rate : nil
        }
        family("kafka_server_quota_request_time", "Per cent of a thread's time that clients' requests took.") { kind, reading in
            kind == .request ? reading.rate : nil
        }
        family("kafka_server_quota_mutation_rate", "Partitions per second created and deleted for clients.") { kind, reading in
            kind == .controllerMutation ? reading.rate : nil
        }
        family("kafka_server_quota_tokens", "Partitions that clients may create or delete at once; below zero there is a debt.") {
            $1.tokens
        }
        family("kafka_server_quota_throttle_time", "Average milliseconds for which clients were held back.") { _, reading in
            reading.throttleMilliseconds.isNaN ? nil : reading.throttleMilliseconds
        }
    }
}
