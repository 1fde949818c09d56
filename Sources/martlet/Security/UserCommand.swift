// `martlet user`: who can log in by SCRAM.
import ArgumentParser
import Authentication
import MartletClient
import Primitives

struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "List users of SCRAM, set and take away their passwords.",
        discussion: """
            Users of PLAIN stand in the nodes' configuration or in martlet.sasl.plain.users.file; those with certificates need no entry.

              martlet user set alice --password-file secret
            """,
        subcommands: [UserListCommand.self, UserSetCommand.self, UserDeleteCommand.self])
}

/// `--mechanism`.
enum MechanismOption: String, CaseIterable, ExpressibleByArgument {
    case sha256 = "SCRAM-SHA-256"
    case sha512 = "SCRAM-SHA-512"

    init?(argument: String) {
        let wanted = argument.uppercased()
        guard let found = Self.allCases.first(where: { $0.rawValue == wanted || $0.rawValue.hasSuffix(wanted.filter(\.isNumber)) }) else {
            return nil
        }
        self = found
    }
}

struct UserListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List users with their mechanisms.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let users = try await cluster.withAdmin { try await $0.describeScramUsers().values() }.sorted { $0.user < $1.user }
        var table = TextTable("USER", "MECHANISM", ">ITERATIONS")
        for user in users {
            for credential in user.credentials { table.add(user.user, credential.mechanism, "\(credential.iterations)") }
        }
        output.show(
            .array(
                users.map { user in
                    [
                        "user": .string(user.user),
                        "credentials": .array(
                            user.credentials.map { ["mechanism": .string($0.mechanism), "iterations": .whole($0.iterations)] }),
                    ]
                }), users.isEmpty ? "There are no users of SCRAM." : table.text)
    }
}

struct UserSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Create a user, or give one another password.",
        discussion: "The password comes from --password-file, $MARTLET_PASSWORD or the keyboard; only what is derived from it is sent.")

    @Argument(help: "The user's name.")
    var user: String

    @Option(name: .shortAndLong, help: "SCRAM-SHA-256 or SCRAM-SHA-512. May be given several times; both when it is not given.")
    var mechanism: [MechanismOption] = []

    @Option(help: "Iterations that make guessing slow, from 4096 to 16384.")
    var iterations: Int32 = 8192

    @OptionGroup var secret: SecretOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (ScramMechanism.minimumIterations...ScramMechanism.maximumIterations).contains(iterations) else {
            throw ValidationError("--iterations is a number from 4096 to 16384.")
        }
    }

    func run() async throws {
        let password = try secret.password(for: user)
        let mechanisms = mechanism.isEmpty ? MechanismOption.allCases : mechanism
        try await cluster.withAdmin { admin in
            for mechanism in mechanisms {
                try await admin.setPassword(password, of: user, mechanism: mechanism.rawValue, iterations: iterations)
            }
        }
        let names = mechanisms.map(\.rawValue)
        output.show(["user": .string(user), "mechanisms": .strings(names)], "\(user) can log in by \(names.joined(separator: " and ")).")
    }
}

struct UserDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Take a user's password away. Connections that stand stay until their session ends.")

    @Argument(help: "The user's name.")
    var user: String

    @Option(name: .shortAndLong, help: "Only for SCRAM-SHA-256 or SCRAM-SHA-512; both when it is not given.")
    var mechanism: MechanismOption?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let deleted = try await cluster.withAdmin { admin -> [String] in
            let known = try await admin.describeScramUsers([user]).values().flatMap(\.credentials).map(\.mechanism)
            let wanted = mechanism.map { [$0.rawValue] } ?? known
            for name in wanted { try await admin.deleteCredential(of: user, mechanism: name) }
            return wanted
        }
        output.show(
            ["user": .string(user), "mechanisms": .strings(deleted)],
            "\(user) can no longer log in by \(deleted.joined(separator: " or ")).")
    }
}
