// Listeners: forms, names, protocols, what is advertised, and Kafka's rules for KRaft.
import ConfigDefinitions
import Testing

@testable import Configuration

@Suite struct ListenerTests {
    private let controller = """
        node.id=1
        process.roles=broker,controller
        controller.listener.names=CONTROLLER
        controller.quorum.voters=1@localhost:9093

        """

    private func listeners(_ text: String) throws -> BrokerConfiguration { try load(controller + text).configuration }

    @Test func severalNamedListenersEachUnderItsOwnHost() throws {
        let configuration = try listeners(
            """
            listeners=INTERNAL://:9092,EXTERNAL://:9094,CLIENT://:9095,CONTROLLER://:9093
            advertised.listeners=INTERNAL://broker-1.internal:9092,EXTERNAL://kafka.example.com:19094,CLIENT://[2001:db8::1]:9095
            listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
            inter.broker.listener.name=INTERNAL
            """)
        #expect(configuration.brokerListeners.map(\.description) == ["INTERNAL://:9092", "EXTERNAL://:9094", "CLIENT://:9095"])
        #expect(configuration.controllerListeners.map(\.description) == ["CONTROLLER://:9093"])
        #expect(
            configuration.advertisedListeners.map(\.description) == [
                "INTERNAL://broker-1.internal:9092", "EXTERNAL://kafka.example.com:19094", "CLIENT://[2001:db8::1]:9095",
            ])
        #expect(configuration.interBrokerListener?.name == "INTERNAL")
        #expect(configuration.advertisedControllerListeners.map(\.description) == ["CONTROLLER://localhost:9093"])
    }

    @Test func withoutAdvertisedListenersTheMachinesNameIsUsed() throws {
        let configuration = try listeners("listeners=PLAINTEXT://:9092,CONTROLLER://:9093")
        #expect(configuration.advertisedListeners.map(\.description) == ["PLAINTEXT://host.example:9092"])
        let bound = try listeners("listeners=PLAINTEXT://10.1.2.3:9092,CONTROLLER://10.1.2.3:9093")
        #expect(bound.advertisedListeners.map(\.description) == ["PLAINTEXT://10.1.2.3:9092"])
        #expect(bound.advertisedControllerListeners.map(\.description) == ["CONTROLLER://10.1.2.3:9093"])
        let partly = try listeners("listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://:9999")
        #expect(partly.advertisedListeners.map(\.description) == ["PLAINTEXT://host.example:9999"])
    }

    @Test func controllersSpeakPlaintextUnlessTold() throws {
        let text = controller.replacing("CONTROLLER", with: "CTRL,BACKUP")
        let configuration = try load(text + "listeners=PLAINTEXT://:9092,CTRL://:9093,backup://:9096").configuration
        #expect(configuration.controllerListenerNames == ["CTRL", "BACKUP"])
        #expect(configuration.advertisedControllerListeners.map(\.description) == ["CTRL://localhost:9093", "BACKUP://host.example:9096"])
    }

    @Test func oneIPv4AndOneIPv6MayShareAPort() throws {
        let map = "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=A\n"
        let shared = try listeners(map + "listeners=A://127.0.0.1:9092,B://[::1]:9092,CONTROLLER://:9093")
        #expect(shared.listeners.map(\.port) == [9092, 9092, 9093])
        for bad in [
            "A://10.0.0.1:9092,B://10.0.0.2:9092", "A://:9092,B://[::1]:9092", "A://h:9092,B://h:9092",
            "A://127.0.0.1:9092,B://[::1]:9092,C://[::2]:9092",
        ] {
            #expect(
                errors(controller + map + "listeners=\(bad),CONTROLLER://:9093").contains { $0.contains("both use port 9092") }, "\(bad)")
        }
        #expect(try listeners(map + "listeners=A://:0,B://:0,CONTROLLER://:0").listeners.count == 3)
    }

    @Test(arguments: [
        (
            "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093",
            "server.properties:5: listeners: PLAINTEXT://0.0.0.0:9092 cannot be advertised: nobody can connect to 0.0.0.0. "
                + "Set advertised.listeners to an address that clients reach"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://0.0.0.0:9092",
            "server.properties:6: advertised.listeners: PLAINTEXT://0.0.0.0:9092 cannot be advertised: nobody can connect to 0.0.0.0. "
                + "Set advertised.listeners to an address that clients reach"
        ),
        (
            "listeners=PLAINTEXT:9092,CONTROLLER://:9093",
            "server.properties:5: listeners: 'PLAINTEXT:9092' is not of the form NAME://host:port with a port from 0 to 65535"
        ),
        (
            "listeners=PLAINTEXT://:x,CONTROLLER://:9093",
            "server.properties:5: listeners: 'PLAINTEXT://:x' is not of the form NAME://host:port with a port from 0 to 65535"
        ),
        (
            "listeners=PLAINTEXT://:70000,CONTROLLER://:9093",
            "server.properties:5: listeners: 'PLAINTEXT://:70000' is not of the form NAME://host:port with a port from 0 to 65535"
        ),
        (
            "listeners=PLAINTEXT://[::1:9092,CONTROLLER://:9093",
            "server.properties:5: listeners: 'PLAINTEXT://[::1:9092' is not of the form NAME://host:port with a port from 0 to 65535"
        ),
        (
            "listeners=CLIENT://:9092,CONTROLLER://:9093",
            "server.properties:5: listeners: listener CLIENT has no security protocol; add CLIENT:PLAINTEXT to "
                + "listener.security.protocol.map"
        ),
        (
            "listeners=SSL://:9092,CONTROLLER://:9093",
            "configuration: inter.broker.listener.name: PLAINTEXT is not advertised; choose one of SSL"
        ),
        (
            "listeners=SSL://:9092,CONTROLLER://:9093\ninter.broker.listener.name=SSL",
            "configuration: ssl.keystore.location: must be set: listener SSL needs a key and a certificate"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlistener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "configuration: sasl.enabled.mechanisms: listener PLAINTEXT is to offer GSSAPI, but only PLAIN, SCRAM-SHA-256, "
                + "SCRAM-SHA-512, OAUTHBEARER are spoken"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlistener.security.protocol.map=PLAINTEXT:TCP,CONTROLLER:PLAINTEXT",
            "server.properties:6: listener.security.protocol.map: 'TCP' is not a security protocol; they are "
                + "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlistener.security.protocol.map=PLAINTEXT,CONTROLLER:PLAINTEXT",
            "server.properties:6: listener.security.protocol.map: 'PLAINTEXT' is not of the form NAME:PROTOCOL"
        ),
        (
            "listeners=PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093",
            "server.properties:5: listeners: each listener needs a name of its own; PLAINTEXT comes twice"
        ),
        (
            "listeners=PLAINTEXT://:9092",
            "server.properties:3: controller.listener.names: CONTROLLER is not among listeners (PLAINTEXT)"
        ),
        (
            "listeners=CONTROLLER://:9093",
            "server.properties:5: listeners: there must be a listener for clients besides those of controller.listener.names (CONTROLLER)"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=INTERNAL",
            "server.properties:6: inter.broker.listener.name: INTERNAL is not advertised; choose one of PLAINTEXT"
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n"
                + "security.inter.broker.protocol=PLAINTEXT",
            "server.properties:7: security.inter.broker.protocol: must not be set together with inter.broker.listener.name"
        ),
    ])
    func mistakes(_ text: String, _ expected: String) {
        #expect(errors(controller + text).first == expected)
    }

    @Test func advertisedNamesMustBeListenedOn() {
        let text =
            controller + """
                listeners=PLAINTEXT://:9092,CONTROLLER://:9093
                listener.security.protocol.map=PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT
                advertised.listeners=PLAINTEXT://a:9092,OTHER://a:9094
                """
        #expect(
            errors(text) == ["server.properties:7: advertised.listeners: OTHER is not among listeners (CONTROLLER, PLAINTEXT)"]
                || errors(text) == ["server.properties:7: advertised.listeners: OTHER is not among listeners (PLAINTEXT, CONTROLLER)"])
    }

    @Test func advertisedPortsMayRepeat() throws {
        let configuration = try listeners(
            """
            listeners=A://:9092,B://:9094,CONTROLLER://:9093
            listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT
            advertised.listeners=A://proxy:9092,B://proxy:9092
            inter.broker.listener.name=A
            """)
        #expect(configuration.advertisedListeners.map(\.port) == [9092, 9092])
    }

    @Test func rolesAndVotersAreChecked() {
        func text(_ roles: String, _ voters: String) -> String {
            "node.id=1\nprocess.roles=\(roles)\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
                + "controller.quorum.voters=\(voters)\n"
        }
        #expect(errors(text("broker,controller", "1@localhost:9093")).isEmpty)
        #expect(
            errors(text("broker,controller", "2@localhost:9093")) == [
                "server.properties:5: controller.quorum.voters: must name this node: node.id is 1, the voters are 2"
            ])
        #expect(errors(text("broker,controller", "")).first?.contains("must be set, or controller.quorum.bootstrap.servers") == true)
        #expect(errors(text("broker,controller", "1@a:1,2@b:1")).isEmpty)
        #expect(
            errors(text("broker", "2@localhost:9093")).contains {
                $0.contains("must not be among listeners on a node that is only a broker")
            })
        #expect(errors(text("worker", "1@localhost:9093")).first?.contains("String must be one of: broker, controller") == true)
    }

    @Test func bootstrapServersStandForVoters() throws {
        let text = minimal.replacing(
            "controller.quorum.voters=1@localhost:9093", with: "controller.quorum.bootstrap.servers=localhost:9093")
        let configuration = try load(text).configuration
        #expect(configuration.controllerQuorumVoters.isEmpty)
        #expect(configuration.controllerQuorumBootstrapServers == [HostAndPort(host: "localhost", port: 9093)])
    }

    @Test func listenersCanHaveTheirOwnLimit() throws {
        let loaded = try load(minimal + "listener.name.plaintext.max.connections=7\nlistener.name.other.max.connections=8\n")
        #expect(loaded.configuration.network.maxConnectionsPerListener == ["PLAINTEXT": 7, "OTHER": 8])
        #expect(loaded.warnings.map(\.key) == ["listener.name.other.max.connections"])
        #expect(
            errors(minimal + "listener.name.plaintext.max.conections=7\n").first?.hasSuffix(
                "did you mean listener.name.plaintext.max.connections?") == true)
        #expect(try load(minimal + "listener.name.plaintext.ssl.keystore.location=/x\n").warnings.isEmpty)
    }

    @Test func developmentNeedsNothing() throws {
        let configuration = try BrokerConfiguration.development(port: 9092, dataDirectory: "./data", adminPort: 9644)
        #expect(configuration.advertisedListeners.map(\.description) == ["PLAINTEXT://127.0.0.1:9092"])
        #expect(configuration.listeners.map(\.port) == [9092, 9093])
        #expect(configuration.storage.logDirectories == ["./data"] && configuration.metadataLog.directory == "./data")
        #expect(configuration.adminListeners == [HostAndPort(host: "127.0.0.1", port: 9644)])
        #expect(configuration.offsets.topicReplicationFactor == 1 && configuration.groups.initialRebalanceDelayMilliseconds == 0)
        let ephemeral = try BrokerConfiguration.development(
            port: 0, dataDirectory: "d", adminPort: nil, overrides: ["num.partitions=3"])
        #expect(ephemeral.listeners.map(\.port) == [0, 0] && ephemeral.adminListeners.isEmpty && ephemeral.topics.numPartitions == 3)
        let noted = try ConfigurationLoader.development(
            port: 0, dataDirectory: "d", adminPort: nil, overrides: ["com.example.plugin.key=3"])
        #expect(noted.warnings.map(\.key) == ["com.example.plugin.key"])
        #expect(throws: ConfigurationMistakes.self) {
            try BrokerConfiguration.development(port: 0, dataDirectory: "d", adminPort: nil, overrides: ["num.partition=3"])
        }
    }
}
