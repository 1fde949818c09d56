// The environment as a node's configuration sees it.
import Configuration

/// Environment variables that may be settings of a node.
enum NodeEnvironment {
    /// All but those that the command line itself has a use for, which would be reported as unknown settings.
    static var variables: [String: String] {
        var variables = ProcessSurroundings.environment()
        variables[ClusterOptions.environmentVariable] = nil
        return variables
    }
}
