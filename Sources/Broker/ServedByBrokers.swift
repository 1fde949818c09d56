// What a broker of this software can do, for those who compare it with a cluster that it is to join.
import Controlling
import KafkaWire

/// The APIs and features of this version of Martlet.
public enum ServedByBrokers {
    /// Every API with a handler on a broker's listeners.
    public static let apis: [ApiKey] = BrokerServices.servedApis

    /// The levels of each feature that a node can work with; one that is not named stays off.
    public static let features: [String: ClosedRange<Int16>] = Dictionary(
        uniqueKeysWithValues: Feature.supportedByThisSoftware.map { ($0.name, $0.minimum...$0.maximum) })
}
