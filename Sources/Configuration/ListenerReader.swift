// Listeners out of the merged settings, with the rules that Kafka has for them in KRaft mode (KafkaConfig.validateValues) and the
// refusal of what Martlet does not speak yet.
import ConfigDefinitions

/// Everything about a node's addresses.
struct ListenerSettings {
    var listeners: [Listener] = []
    var advertised: [Listener] = []
    var advertisedControllers: [Listener] = []
    var controllerNames: [String] = []
    var interBrokerName = "PLAINTEXT"
}

extension ConfigurationReader {
    /// Reads all keys about listeners; mistakes are added.
    mutating func readListeners(
        roles: ProcessRoles, nodeID: Int32, voters: [QuorumVoter], hostName: String
    ) -> ListenerSettings {
        var settings = ListenerSettings()
        settings.controllerNames = list("controller.listener.names").map { $0.uppercased() }
        let protocols = readProtocolMap(controllerNames: settings.controllerNames)
        settings.interBrokerName = readInterBrokerName()
        settings.listeners = readListeners("listeners", protocols, portsMustDiffer: true)
        let given = isSet("advertised.listeners") ? readListeners("advertised.listeners", protocols, portsMustDiffer: false) : nil
        guard areSound("listeners", "advertised.listeners", "controller.listener.names", "listener.security.protocol.map"),
            mistakes.allSatisfy({ $0.severity == .warning || !Self.listenerKeys.contains($0.key) })
        else { return settings }
        let isController: (Listener) -> Bool = { settings.controllerNames.contains($0.name) }
        settings.advertised = (given ?? settings.listeners).filter { !isController($0) }
        if roles.contains(.controller) {
            settings.advertisedControllers = settings.controllerNames.enumerated().compactMap { index, name in
                advertisedController(
                    name, isDefault: index == 0, given: given ?? [], listeners: settings.listeners, voter: voters.first { $0.id == nodeID })
            }
        }
        checkRoles(settings, roles, hasGiven: given != nil)
        settings.advertised = settings.advertised.map { $0.named(hostName) }
        settings.advertisedControllers = settings.advertisedControllers.map { $0.named(hostName) }
        return settings
    }

    private static let listenerKeys = [
        "listeners", "advertised.listeners", "controller.listener.names", "listener.security.protocol.map", "inter.broker.listener.name",
    ]

    private mutating func readProtocolMap(controllerNames: [String]) -> [String: SecurityProtocol] {
        let key = "listener.security.protocol.map"
        var result: [String: SecurityProtocol] = [:]
        for (text, pair) in PairList.parse(string(key) ?? "") {
            guard let pair, !pair.key.isEmpty else {
                error(key, "'\(text)' is not of the form NAME:PROTOCOL")
                continue
            }
            guard let securityProtocol = SecurityProtocol(rawValue: pair.value.uppercased()) else {
                let known = SecurityProtocol.allCases.map(\.rawValue).joined(separator: ", ")
                error(key, "'\(pair.value)' is not a security protocol; they are \(known)")
                continue
            }
            result[pair.key.uppercased()] = securityProtocol
        }
        // Kafka's default in KRaft mode: controllers speak plaintext as long as nothing is said and nothing else is in use.
        if !isSet(key) {
            for name in controllerNames where result[name] == nil { result[name] = .plaintext }
        }
        return result
    }

    private mutating func readInterBrokerName() -> String {
        if let name = string("inter.broker.listener.name") {
            require(
                !isSet("security.inter.broker.protocol"), "security.inter.broker.protocol",
                "must not be set together with inter.broker.listener.name")
            return name.uppercased()
        }
        return string("security.inter.broker.protocol") ?? "PLAINTEXT"
    }

    private mutating func readListeners(
        _ key: String, _ protocols: [String: SecurityProtocol], portsMustDiffer: Bool
    ) -> [Listener] {
        var result: [Listener] = []
        for text in list(key) {
            guard let address = ListenerAddress(text) else {
                error(key, "'\(text)' is not of the form NAME://host:port with a port from 0 to 65535")
                continue
            }
            guard let securityProtocol = protocols[address.name] else {
                error(
                    key,
                    "listener \(address.name) has no security protocol; add \(address.name):PLAINTEXT to listener.security.protocol.map")
                continue
            }
            if securityProtocol != .plaintext {
                let missing = securityProtocol == .ssl ? "TLS" : securityProtocol == .saslSSL ? "TLS with SASL" : "SASL"
                error(
                    key,
                    "listener \(address.name) is to speak \(securityProtocol.rawValue), but \(missing) is not available yet; "
                        + "only PLAINTEXT is")
                continue
            }
            require(!result.contains { $0.name == address.name }, key, "each listener needs a name of its own; \(address.name) comes twice")
            if portsMustDiffer, address.port != 0 { checkPort(key, address, result) }
            result.append(Listener(name: address.name, securityProtocol: securityProtocol, host: address.host, port: address.port))
        }
        return result
    }

    /// One port may be shared by exactly one IPv4 and one IPv6 address (KIP-797).
    private mutating func checkPort(_ key: String, _ address: ListenerAddress, _ others: [Listener]) {
        let same = others.filter { $0.port == address.port }
        guard let other = same.first else { return }
        let families = [AddressFamily(other.host), AddressFamily(address.host)]
        let mayShare = same.count == 1 && families.contains(.version4) && families.contains(.version6)
        require(
            mayShare, key,
            "listeners \(other.name) and \(address.name) both use port \(address.port); only an IPv4 and an IPv6 address may share one")
    }

    /// What the quorum is told about one controller listener: what is advertised, else the voter's own entry, else the listener.
    private func advertisedController(
        _ name: String, isDefault: Bool, given: [Listener], listeners: [Listener], voter: QuorumVoter?
    ) -> Listener? {
        if let listener = given.first(where: { $0.name == name }) { return listener }
        guard var listener = listeners.first(where: { $0.name == name }) else { return nil }
        if isDefault, listener.host.isEmpty || listener.host == "0.0.0.0", let voter {
            listener.host = voter.address.host
            listener.port = voter.address.port
        }
        if listener.host == "0.0.0.0" { listener.host = "" }
        return listener
    }

    private mutating func checkRoles(_ settings: ListenerSettings, _ roles: ProcessRoles, hasGiven: Bool) {
        let names = settings.listeners.map(\.name)
        let controllers = settings.controllerNames
        if roles.contains(.controller) {
            for name in controllers where !names.contains(name) {
                error("controller.listener.names", "\(name) is not among listeners (\(names.joined(separator: ", ")))")
            }
        }
        if roles == .broker {
            for name in controllers where names.contains(name) {
                error("controller.listener.names", "\(name) must not be among listeners on a node that is only a broker")
            }
        }
        if roles == .controller {
            for name in names where !controllers.contains(name) {
                error("listeners", "\(name) is not among controller.listener.names, and a node that is only a controller has no other")
            }
        }
        let advertisedKey = hasGiven ? "advertised.listeners" : "listeners"
        if roles.contains(.broker) {
            let advertised = settings.advertised.map(\.name)
            require(
                !advertised.isEmpty, advertisedKey,
                "there must be a listener for clients besides those of controller.listener.names (\(controllers.joined(separator: ", ")))")
            for name in advertised where !names.contains(name) {
                error("advertised.listeners", "\(name) is not among listeners (\(names.joined(separator: ", ")))")
            }
            require(
                advertised.isEmpty || advertised.contains(settings.interBrokerName), "inter.broker.listener.name",
                "\(settings.interBrokerName) is not advertised; choose one of \(advertised.joined(separator: ", "))")
        }
        for listener in settings.advertised + settings.advertisedControllers where listener.host == "0.0.0.0" {
            error(
                advertisedKey,
                "\(listener) cannot be advertised: nobody can connect to 0.0.0.0. Set advertised.listeners to an address that clients reach"
            )
        }
    }
}

extension Listener {
    /// This with a host: an empty one becomes the machine's name, as Kafka does it.
    fileprivate func named(_ hostName: String) -> Listener {
        var copy = self
        if copy.host.isEmpty { copy.host = hostName }
        return copy
    }
}
