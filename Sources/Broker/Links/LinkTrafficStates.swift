// What links take of the way between clusters, for operators and metrics.
import Linking
import Observability
import Primitives

extension LinkServices {
    /// Of the links over which this broker fetches.
    var trafficStates: JSONValue {
        .array(
            sources.map { source in
                let traffic = source.board.traffic
                let counts = traffic.answers.counts
                return [
                    "link": .string(source.definition.name), "compression": .string(source.settings.compresses ? "zstd" : "none"),
                    "bytes": .integer(counts.before), "wireBytes": .integer(counts.after), "problem": .string(traffic.problem),
                ]
            })
    }

    func writeCompression(to text: inout PrometheusText) {
        let counts = sources.map { ($0.definition.name, $0.board.traffic.answers.counts) }
        text.family("martlet_link_answer_bytes_total", .counter, help: "Answers of the source's brokers to fetches, unpacked.")
        for (link, count) in counts { text.sample("martlet_link_answer_bytes_total", ["link": link], Int(count.before)) }
        text.family(
            "martlet_link_wire_bytes_total", .counter, help: "The same as they came over the link, compressed where that was asked for.")
        for (link, count) in counts { text.sample("martlet_link_wire_bytes_total", ["link": link], Int(count.after)) }
    }
}
