// What the metadata say of those who log in by SCRAM: users with their keys, and delegation tokens, whose keys are worked out from their ids.
import Authentication
import Authorization
import ClusterMetadata
import Primitives
import Synchronization

/// The credentials of the newest metadata; empty until there are metadata. Thread-safe.
final class MetadataCredentials: Sendable {
    private struct TokenKey: Hashable {
        var id: String
        var mechanism: ScramMechanism
    }

    private struct State {
        var image = SecurityImage()
        /// Of tokens that were used. Making them takes milliseconds, which nobody shall be able to ask for again and again.
        var tokenKeys: [TokenKey: ScramKeys] = [:]
    }

    /// Nil when tokens are switched off.
    let secret: DelegationTokenSecret?
    private let state = Mutex(State())

    init(secret: DelegationTokenSecret?) {
        self.secret = secret
    }

    var image: SecurityImage { state.withLock { $0.image } }

    func update(_ image: SecurityImage, tokensChanged: Bool) {
        state.withLock { state in
            state.image = image
            guard tokensChanged, !state.tokenKeys.isEmpty else { return }
            state.tokenKeys = state.tokenKeys.filter { image.delegationTokens[$0.key.id] != nil }
        }
    }

    /// What is stored of a user's password.
    func keys(of user: String, _ mechanism: ScramMechanism) -> ScramKeys? {
        guard let stored = image.scramCredentials[ScramUser(name: user, mechanism: mechanism.rawValue)] else { return nil }
        return ScramKeys(
            salt: Array(stored.salt.readableBytesView), storedKey: Array(stored.storedKey.readableBytesView),
            serverKey: Array(stored.serverKey.readableBytesView), iterations: stored.iterations)
    }

    /// A token that has not expired.
    func delegationToken(_ id: String, _ mechanism: ScramMechanism, now: Timestamp) -> DelegationTokenLogin? {
        guard let secret, let token = image.delegationTokens[id], !token.isExpired(now: now), let owner = KafkaPrincipal(token.owner) else {
            return nil
        }
        let key = TokenKey(id: id, mechanism: mechanism)
        var keys = state.withLock { $0.tokenKeys[key] }
        if keys == nil {
            var generator = SystemRandomNumberGenerator()
            let salt = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            keys = secret.keys(of: id, mechanism, salt: salt)
            state.withLock { state in
                // It may have been removed meanwhile.
                if state.image.delegationTokens[id] != nil { state.tokenKeys[key] = keys }
            }
        }
        return keys.map { DelegationTokenLogin(keys: $0, owner: owner.name, expiration: token.expiration) }
    }
}
