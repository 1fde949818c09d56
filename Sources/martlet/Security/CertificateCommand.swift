// `martlet cert`: a certificate authority for development and for clusters that have none, certificates of nodes and clients, and a look
// at any certificate.
import ArgumentParser
import Configuration
import Crypto
import FoundationEssentials
import Glibc
import NIOCore
import Primitives
import SwiftASN1
import X509

struct CertificateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cert", abstract: "Make a certificate authority and certificates; show certificates.",
        discussion: """
              martlet cert ca                                  # certs/ca.pem and certs/ca.key
              martlet cert node broker1 --host broker1.example.com --host 10.0.0.1
              martlet cert client alice

            A node's file holds its key and its chain, as ssl.keystore.location with ssl.keystore.type=PEM takes it; ca.pem is everybody's
            ssl.truststore.location. Keep ca.key to yourself.
            """,
        subcommands: [
            CertificateAuthorityCommand.self, CertificateNodeCommand.self, CertificateClientCommand.self, CertificateShowCommand.self,
        ])
}

/// Where certificates are put and for how long they hold.
struct CertificateOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The directory of the certificate authority.", completion: .directory)
    var directory = "certs"

    @Flag(help: "Replace files that are there.")
    var force = false

    /// Writes a file that only its owner can read; whole or not at all.
    func write(_ name: String, _ text: String, isSecret: Bool) throws -> String {
        mkdir(directory, 0o755)
        let path = "\(directory)/\(name)"
        if !force, access(path, F_OK) == 0 { throw CommandFailure("\(path) is there already; --force replaces it") }
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, isSecret ? 0o600 : 0o644)
        guard descriptor >= 0 else { throw CommandFailure("\(temporary) cannot be written: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var text = text
        let isWritten = text.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
        guard isWritten, fsync(descriptor) == 0, rename(temporary, path) == 0 else {
            throw CommandFailure("\(path) cannot be written: \(String(cString: strerror(errno)))")
        }
        return path
    }

    func read(_ name: String) throws -> String {
        switch ConfigurationFile.text("\(directory)/\(name)") {
        case .success(let text): return text
        case .failure(let failure):
            throw CommandFailure("\(directory)/\(name) \(failure.reason); `martlet cert ca` makes a certificate authority")
        }
    }
}

struct CertificateAuthorityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ca", abstract: "Make a certificate authority.")

    @Option(help: "Its name.")
    var name = "Martlet development CA"

    @Option(help: "Days that it holds.")
    var days = 3650

    @OptionGroup var files: CertificateOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let authority = try Issuer(name: name, days: days)
        let key = try files.write("ca.key", authority.key.pemRepresentation + "\n", isSecret: true)
        let certificate = try files.write("ca.pem", try authority.certificate.serializeAsPEM().pemString + "\n", isSecret: false)
        output.show(
            ["certificate": .string(certificate), "key": .string(key)],
            "\(certificate) is to be trusted by everybody (ssl.truststore.location); \(key) stays here.")
    }
}

/// What a certificate for a node or a client has in common.
struct IssueOptions: ParsableArguments {
    @Argument(help: "The common name (CN).")
    var name: String

    @Option(help: "More of the subject behind the name, such as OU=Brokers,O=Example.")
    var subject: String?

    @Option(help: "Days that it holds, from 0 for one that has expired already.")
    var days = 825
}

struct CertificateNodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "node", abstract: "Make a node's key and certificate.")

    @OptionGroup var issue: IssueOptions

    @Option(help: "A name or address that clients connect to. May be given several times; the common name and localhost otherwise.")
    var host: [String] = []

    @OptionGroup var files: CertificateOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let hosts = host.isEmpty ? [issue.name, "localhost", "127.0.0.1"] : host
        try make(issue, files, output, hosts: hosts)
    }
}

struct CertificateClientCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "client", abstract: "Make a client's key and certificate.")

    @OptionGroup var issue: IssueOptions
    @OptionGroup var files: CertificateOptions
    @OptionGroup var output: OutputOptions

    func run() throws { try make(issue, files, output, hosts: []) }
}

private func make(_ issue: IssueOptions, _ files: CertificateOptions, _ output: OutputOptions, hosts: [String]) throws {
    let issuer = try Issuer(certificate: try files.read("ca.pem"), key: try files.read("ca.key"))
    let (key, certificate) = try issuer.issue(issue.name, subject: issue.subject, hosts: hosts, days: issue.days)
    let chain = try [certificate, issuer.certificate].map { try $0.serializeAsPEM().pemString }.joined(separator: "\n")
    let path = try files.write("\(issue.name).pem", key.pemRepresentation + "\n" + chain + "\n", isSecret: true)
    output.show(
        [
            "keystore": .string(path), "truststore": .string("\(files.directory)/ca.pem"),
            "subject": .string(certificate.subject.description), "hosts": .strings(hosts),
        ],
        """
        ssl.keystore.type=PEM
        ssl.keystore.location=\(path)
        ssl.truststore.type=PEM
        ssl.truststore.location=\(files.directory)/ca.pem
        """)
}

struct CertificateShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show the certificates in a PEM file.")

    @Argument(help: "The file.", completion: .file())
    var file: String

    @OptionGroup var output: OutputOptions

    func run() throws {
        let text: String
        switch ConfigurationFile.text(file) {
        case .success(let content): text = content
        case .failure(let failure): throw CommandFailure("\(file) \(failure.reason)")
        }
        let certificates = try Self.certificates(in: text, file)
        var lines: [String] = []
        for certificate in certificates {
            let names = Self.names(of: certificate)
            lines += [
                "subject  \(certificate.subject)", "issuer   \(certificate.issuer)",
                "valid    \(Self.text(certificate.notValidBefore)) to \(Self.text(certificate.notValidAfter))"
                    + (certificate.notValidAfter < Date() ? ", which is over" : ""),
                "names    \(names.isEmpty ? "none" : names.joined(separator: ", "))", "",
            ]
        }
        output.show(
            .array(
                certificates.map {
                    [
                        "subject": .string($0.subject.description), "issuer": .string($0.issuer.description),
                        "notBefore": .string(Self.text($0.notValidBefore)), "notAfter": .string(Self.text($0.notValidAfter)),
                        "names": .strings(Self.names(of: $0)),
                    ]
                }), lines.dropLast().joined(separator: "\n"))
    }

    private static func certificates(in text: String, _ file: String) throws -> [Certificate] {
        do {
            let certificates = try PEMDocument.parseMultiple(pemString: text).filter { $0.discriminator == "CERTIFICATE" }
            guard !certificates.isEmpty else { throw CommandFailure("\(file) has no certificate") }
            return try certificates.map { try Certificate(derEncoded: $0.derBytes) }
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure("\(file) cannot be read as certificates in PEM form: \(error)")
        }
    }

    private static func text(_ date: Date) -> String { date.formatted(.iso8601) }

    private static func names(of certificate: Certificate) -> [String] {
        let names = try? certificate.extensions.subjectAlternativeNames
        return names?.compactMap { name in
            switch name {
            case .dnsName(let name): name
            case .ipAddress(let address):
                (try? SocketAddress(packedIPAddress: ByteBuffer(bytes: address.bytes), port: 0))?.ipAddress
            default: nil
            }
        } ?? []
    }
}
