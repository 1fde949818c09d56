// What the tests of configuration share.
import ConfigDefinitions
import Foundation
import TestKit

@testable import Configuration

/// The package's own directory.
let packageRoot = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The folder of protocol facts, nil when it is not there.
let factsFolder: URL? = {
    let shared = ProcessInfo.processInfo.environment["MARTLET_SHARED"] ?? packageRoot.appendingPathComponent("../shared").path
    let folder = URL(fileURLWithPath: shared).appendingPathComponent("facts")
    return FileManager.default.fileExists(atPath: folder.appendingPathComponent("broker-configs.tsv").path) ? folder : nil
}()

/// Rows of a table with a header line, by column.
func rows(_ name: String, in folder: URL) throws -> [[String: String]] {
    let lines = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8).split(separator: "\n")
    let columns = lines[0].split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    return lines.dropFirst().map { line in
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        return Dictionary(uniqueKeysWithValues: zip(columns, fields))
    }
}

/// The smallest configuration that loads.
let minimal = """
    node.id=1
    process.roles=broker,controller
    listeners=PLAINTEXT://:9092,CONTROLLER://:9093
    controller.listener.names=CONTROLLER
    controller.quorum.voters=1@localhost:9093
    log.dirs=/var/lib/martlet

    """

/// Loads `text` as a properties file named server.properties.
func load(
    _ text: String, path: String = "server.properties", environment: [String: String] = [:], overrides: [String] = []
) throws(ConfigurationMistakes) -> LoadedConfiguration {
    var fromEnvironment = SourceContent()
    fromEnvironment.entries = EnvironmentSource.entries(environment)
    return try ConfigurationLoader.load(
        sources: [ConfigurationFile.parse(text, path: path), fromEnvironment, OverrideSource.parse(overrides)], hostName: "host.example")
}

/// The errors of a configuration that does not load, one line each; empty when it does.
func errors(_ text: String, path: String = "server.properties", environment: [String: String] = [:]) -> [String] {
    do {
        _ = try load(text, path: path, environment: environment)
        return []
    } catch {
        return error.errors.map(\.description)
    }
}
