// The tables beside the messages: API keys, error codes, and the catalogue that finds a message's type.
import KafkaSchema

enum TableGenerator {
    static func apiKeys(_ apis: [APIDefinition]) -> String {
        var output = SwiftText(source: "messages")
        output.line()
        output.line("/// The protocol's APIs by their keys. Keys that Kafka has removed are absent.")
        output.block("public enum ApiKey: Int16, CaseIterable, Hashable, Sendable") { output in
            for api in apis { output.line("case \(SwiftName.declared(SwiftName.lowered(api.name))) = \(api.key)") }
        }
        output.line()
        output.block("extension ApiKey") { output in
            output.line("/// What the protocol says about the API.")
            output.block("public var properties: ApiProperties") { output in
                output.line("switch self {")
                for api in apis {
                    let versions = api.request.versions
                    let stable = api.stable ?? versions
                    let flexible = api.request.flexible.map { "\($0.lowest)" } ?? ".max"
                    let listeners = api.listeners.map { ".\($0)" }.joined(separator: ", ")
                    output.line(
                        "case .\(SwiftName.lowered(api.name)): ApiProperties(\"\(api.name)\", "
                            + "\(versions.lowest)...\(versions.highest), stable: \(stable.lowest)...\(stable.highest), "
                            + "flexible: \(flexible), listeners: [\(listeners)], "
                            + "isClusterAction: \(api.isClusterAction), isForwardable: \(api.isForwardable))")
                }
                output.line("}")
            }
        }
        return output.text
    }

    static func errors(_ errors: [ErrorDefinition]) -> String {
        var output = SwiftText(source: "errors.kafka")
        output.line()
        output.block("extension ErrorCode") { output in
            for error in errors {
                if let message = error.message { output.line("/// \(message)") }
                output.line("public static var \(SwiftName.camel(error.name)): ErrorCode { ErrorCode(rawValue: \(error.code)) }")
            }
            output.line()
            output.line("/// Every code that has a name, by value.")
            output.block("public static var all: [ErrorCode]") { output in
                let lowest = errors.map(\.code).min() ?? 0
                let highest = errors.map(\.code).max() ?? 0
                output.line("(\(lowest)...\(highest)).map { ErrorCode(rawValue: $0) }.filter { $0.properties != nil }")
            }
            output.line()
            output.block("var properties: ErrorProperties?") { output in
                output.line("switch rawValue {")
                for error in errors {
                    let message = error.message.map { ", \"\($0)\"" } ?? ""
                    output.line(
                        "case \(error.code): ErrorProperties(\"\(error.name)\", \(error.isRetriable), \(error.refreshesMetadata)\(message))"
                    )
                }
                output.line("default: nil")
                output.line("}")
            }
        }
        return output.text
    }

    static func catalog(_ apis: [APIDefinition]) -> String {
        var output = SwiftText(source: "messages")
        output.line("import KafkaWire")
        output.line()
        output.block("extension ApiKey") { output in
            for part in ["request", "response"] {
                output.line("/// The type of the API's \(part).")
                output.block("public var \(part)Type: any Kafka\(part == "request" ? "Request" : "Response").Type") { output in
                    output.line("switch self {")
                    for api in apis {
                        let type = part == "request" ? api.request.name : api.response.name
                        output.line("case .\(SwiftName.lowered(api.name)): \(type).self")
                    }
                    output.line("}")
                }
            }
        }
        return output.text
    }
}
