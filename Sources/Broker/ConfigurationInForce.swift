// Dynamic configuration while it works: what the node was started with under what the metadata says, and who has to hear of changes.
import ConfigDefinitions
import Configuration
import Synchronization

/// The configuration in force on this broker.
final class ConfigurationInForce: Sendable {
    private struct State {
        var current: BrokerConfiguration
        var followers: [@Sendable (BrokerConfiguration) -> Void] = []
    }

    private let started: BrokerConfiguration
    private let state: Mutex<State>

    init(started: BrokerConfiguration) {
        self.started = started
        state = Mutex(State(current: started))
    }

    var current: BrokerConfiguration { state.withLock { $0.current } }

    /// Puts other dynamic layers in force; false when they are what they were.
    func apply(_ layers: BrokerConfigLayers) -> Bool {
        state.withLock { state in
            let before = state.current.layers
            guard layers.dynamicDefault != before.dynamicDefault || layers.dynamicBroker != before.dynamicBroker else { return false }
            let current = started.applying(layers)
            state.current = current
            // Under the lock, so that nobody is told of an older configuration last.
            for follower in state.followers { follower(current) }
            return true
        }
    }

    /// Calls `follower` with the configuration as it is, and again whenever it changes. It must return soon and not call back.
    func follow(_ follower: @escaping @Sendable (BrokerConfiguration) -> Void) {
        state.withLock { state in
            state.followers.append(follower)
            follower(state.current)
        }
    }
}
