// A token that this node logs in with at others by OAUTHBEARER, in a file that something else keeps fresh, such as an agent of the identity
// provider or a mounted token of Kubernetes.
import Authentication
import Configuration
import Synchronization

/// A file with a token. Thread-safe.
final class TokenFile: Sendable {
    private let path: String
    private let token: Mutex<String>

    /// A file that cannot be read is a reason not to start.
    init(path: String) throws(BrokerStartFailure) {
        self.path = path
        token = Mutex("")
        if let problem = refresh() { throw BrokerStartFailure("sasl.oauthbearer.token.endpoint.url: \(problem)") }
    }

    /// What to log in with now.
    var credentials: SaslCredentials { SaslCredentials(mechanism: .oauthBearer, user: "", password: token.withLock { $0 }) }

    /// Reads the file again. Returns what is wrong with it, if anything; the token stays as it was then.
    func refresh() -> String? {
        switch ConfigurationFile.text(path) {
        case .failure(let failure): return "\(path) \(failure.reason)"
        case .success(let text):
            guard let word = SaslCredentials.token(in: text) else { return "\(path) does not hold one token" }
            token.withLock { $0 = word }
            return nil
        }
    }
}
