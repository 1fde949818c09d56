// The link by which the old source comes to follow the cluster that has taken over.
import Collections
import Configuration
import Linking
import MartletClient

extension DrillReturnOptions {
    /// The settings of a new link back.
    func settings(_ cluster: ClusterOptions) throws -> OrderedDictionary<String, String> {
        var settings: OrderedDictionary<String, String> = [:]
        if let path = returnConfig {
            let content = ConfigurationFile.read(path)
            if let mistake = content.mistakes.first(where: { $0.severity == .error }) {
                throw CommandFailure("--return-config: \(mistake)")
            }
            for entry in content.entries { settings[entry.key] = entry.value }
        }
        settings["bootstrap.servers"] = returnBootstrapServer ?? settings["bootstrap.servers"] ?? cluster.servers
        return settings
    }
}
