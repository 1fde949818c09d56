// `martlet token`: delegation tokens, which let programs log in for a while without anybody's password.
import ArgumentParser
import Authorization
import MartletClient
import Primitives

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Create, list, renew and end delegation tokens.",
        discussion: """
            A token lets its bearer act as its owner until it ends. It is for SCRAM: the id is the user, the code is the password, and
            tokenauth="true" stands in sasl.jaas.config. Nodes have tokens when delegation.token.secret.key is set on all of them, and give them
            only to those who logged in (--command-config), not with a token.

              martlet token create --renewer User:scheduler --lifetime 86400 --command-config admin.properties
              martlet token renew --code-file token
            """,
        subcommands: [TokenListCommand.self, TokenCreateCommand.self, TokenRenewCommand.self, TokenExpireCommand.self])
}

/// Which token is meant: by its code, which is a password and stands on no command line.
struct TokenCodeOptions: ParsableArguments {
    @Option(help: "File whose first line is the token's code; - for standard input (default: $MARTLET_PASSWORD).", completion: .file())
    var codeFile: String?

    func code() throws -> String {
        var secret = SecretOptions()
        secret.passwordFile = codeFile
        return try secret.password(for: "the token")
    }
}

extension DelegationTokenDescription {
    fileprivate func json(withCode: Bool) -> JSONValue {
        var members: [(String, JSONValue)] = [
            ("id", .string(id)), ("owner", .string(owner)), ("requester", .string(requester)), ("renewers", .strings(renewers)),
            ("issued", .whole(issued)), ("expires", .whole(expiration)), ("expiresAtTheLatest", .whole(latestExpiration)),
        ]
        if withCode { members.insert(("code", .string(code)), at: 1) }
        return .object(members)
    }
}

/// `User:` is what nearly everybody means.
private func principal(_ text: String) -> String { KafkaPrincipal(text) == nil ? "User:\(text)" : text }

struct TokenListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the tokens that you may see.")

    @Option(help: "Only tokens of that owner or renewer, User:name. May be given several times.")
    var owner: [String] = []

    @Flag(help: "Show the tokens' codes, which are passwords, too.")
    var codes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let owners = owner.isEmpty ? nil : owner.map(principal)
        let tokens = try await cluster.withAdmin { try await $0.describeDelegationTokens(owners: owners) }
        var table = TextTable("TOKEN", "OWNER", "REQUESTER", "RENEWERS", "ISSUED", "EXPIRES", "AT THE LATEST", codes ? "CODE" : "")
        for token in tokens {
            table.add(
                token.id, token.owner, token.requester, token.renewers.isEmpty ? "-" : token.renewers.joined(separator: ", "),
                TimeText.of(token.issued), TimeText.of(token.expiration), TimeText.of(token.latestExpiration), codes ? token.code : "")
        }
        output.show(
            .array(tokens.map { $0.json(withCode: codes) }), tokens.isEmpty ? "There are no tokens that you may see." : table.text)
    }
}

struct TokenCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create a token, and print its id and its code.",
        discussion: "With --json everything is printed, else the lines that a client's properties need.")

    @Option(help: "Whom its bearer acts as, User:name; yourself when it is not given. Others need CREATE_TOKENS on that user.")
    var owner: String?

    @Option(help: "Who may renew it, User:name. May be given several times.")
    var renewer: [String] = []

    @Option(help: "Seconds that it can be good at most; the nodes' bound when it is not given.")
    var lifetime: Int64?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard let lifetime else { return }
        guard (1...Int64.max / 1000).contains(lifetime) else { throw ValidationError("--lifetime is a number of seconds above 0.") }
    }

    func run() async throws {
        let token = try await cluster.withAdmin { admin in
            try await admin.createDelegationToken(
                owner: owner.map(principal), renewers: renewer.map(principal), lifetimeMilliseconds: lifetime.map { $0 * 1000 })
        }
        output.show(
            token.json(withCode: true),
            """
            # \(token.owner) until \(TimeText.of(token.expiration)); renewed, until \(TimeText.of(token.latestExpiration)) at the latest.
            sasl.mechanism=SCRAM-SHA-512
            sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="\(token.id)" \
                password="\(token.code)" tokenauth="true";
            """)
    }
}

struct TokenRenewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "renew", abstract: "Let a token be good for longer.")

    @Option(help: "Seconds from now; as long as the nodes let it when it is not given.")
    var period: Int64?

    @OptionGroup var token: TokenCodeOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let period, period <= 0 || period > Int64.max / 1000 { throw ValidationError("--period is a number of seconds above 0.") }
    }

    func run() async throws {
        let code = try token.code()
        let milliseconds = period.map { $0 * 1000 }
        let end = try await cluster.withAdmin { try await $0.renewDelegationToken(code: code, periodMilliseconds: milliseconds) }
        output.show(["expires": .whole(end)], "The token is good until \(TimeText.of(end)).")
    }
}

struct TokenExpireCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expire", abstract: "End a token, now or in a while.",
        discussion: "Connections that logged in with it stay until the time at which it was to end then.")

    @Option(help: "Seconds from now; at once when it is not given.")
    var period: Int64?

    @OptionGroup var token: TokenCodeOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let period, period < 0 || period > Int64.max / 1000 { throw ValidationError("--period is a number of seconds.") }
    }

    func run() async throws {
        let code = try token.code()
        let end = try await cluster.withAdmin { admin in
            try await admin.expireDelegationToken(code: code, periodMilliseconds: period.map { $0 * 1000 } ?? -1)
        }
        output.show(
            ["expires": .whole(end)], period == nil ? "The token is no longer good." : "The token is good until \(TimeText.of(end)).")
    }
}
