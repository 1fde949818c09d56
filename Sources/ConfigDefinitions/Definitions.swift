// The short forms that the tables of keys are written in.

extension ConfigDefinition {
    // One maker per type; the arguments stand in the order of Kafka's own tables: name, default, rule, importance.

    private static func make(
        _ name: String, _ type: ConfigType, _ defaultValue: ConfigValue?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        _ mode: ConfigUpdateMode, _ synonym: String?, _ isInternal: Bool, _ support: ConfigSupport, _ documentation: String,
        isRequired: Bool = false
    ) -> ConfigDefinition {
        ConfigDefinition(
            name: name, type: type, defaultValue: defaultValue, isRequired: isRequired, validator: validator, importance: importance,
            updateMode: mode, synonym: synonym, isInternal: isInternal, support: support, documentation: documentation)
    }

    static func boolean(
        _ name: String, _ defaultValue: Bool?, _ importance: ConfigImportance, mode: ConfigUpdateMode = .readOnly,
        synonym: String? = nil, internal: Bool = false, support: ConfigSupport = .supported, doc: String = ""
    ) -> ConfigDefinition {
        make(name, .boolean, defaultValue.map(ConfigValue.boolean), .any, importance, mode, synonym, `internal`, support, doc)
    }

    static func int(
        _ name: String, _ defaultValue: Int32?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, synonym: String? = nil, internal: Bool = false, support: ConfigSupport = .supported,
        doc: String = "", required: Bool = false
    ) -> ConfigDefinition {
        make(
            name, .int, defaultValue.map(ConfigValue.int), validator, importance, mode, synonym, `internal`, support, doc,
            isRequired: required)
    }

    static func short(
        _ name: String, _ defaultValue: Int16?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, support: ConfigSupport = .supported, doc: String = ""
    ) -> ConfigDefinition {
        make(name, .short, defaultValue.map(ConfigValue.short), validator, importance, mode, nil, false, support, doc)
    }

    static func long(
        _ name: String, _ defaultValue: Int64?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, synonym: String? = nil, internal: Bool = false, support: ConfigSupport = .supported,
        doc: String = ""
    ) -> ConfigDefinition {
        make(name, .long, defaultValue.map(ConfigValue.long), validator, importance, mode, synonym, `internal`, support, doc)
    }

    static func double(
        _ name: String, _ defaultValue: Double?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, synonym: String? = nil, internal: Bool = false, support: ConfigSupport = .supported,
        doc: String = ""
    ) -> ConfigDefinition {
        make(name, .double, defaultValue.map(ConfigValue.double), validator, importance, mode, synonym, `internal`, support, doc)
    }

    static func string(
        _ name: String, _ defaultValue: String?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, synonym: String? = nil, internal: Bool = false, support: ConfigSupport = .supported,
        doc: String = ""
    ) -> ConfigDefinition {
        make(name, .string, defaultValue.map(ConfigValue.string), validator, importance, mode, synonym, `internal`, support, doc)
    }

    static func list(
        _ name: String, _ defaultValue: [String]?, _ validator: ConfigValidator, _ importance: ConfigImportance,
        mode: ConfigUpdateMode = .readOnly, synonym: String? = nil, support: ConfigSupport = .supported, doc: String = "",
        required: Bool = false
    ) -> ConfigDefinition {
        make(
            name, .list, defaultValue.map(ConfigValue.list), validator, importance, mode, synonym, false, support, doc,
            isRequired: required)
    }

    static func className(
        _ name: String, _ defaultValue: String?, _ importance: ConfigImportance, mode: ConfigUpdateMode = .readOnly,
        support: ConfigSupport = .supported, doc: String = ""
    ) -> ConfigDefinition {
        make(name, .className, defaultValue.map(ConfigValue.className), .any, importance, mode, nil, false, support, doc)
    }

    static func password(
        _ name: String, _ importance: ConfigImportance, mode: ConfigUpdateMode = .readOnly, support: ConfigSupport = .supported,
        doc: String = ""
    ) -> ConfigDefinition {
        make(name, .password, nil, .any, importance, mode, nil, false, support, doc)
    }
}

extension ConfigValidator {
    /// A list that may be empty, of any elements.
    static let anyList = ConfigValidator.list(of: [], mayBeEmpty: true)
    /// A list with at least one element.
    static let nonEmptyList = ConfigValidator.list(of: [], mayBeEmpty: false)
}

extension ConfigValidator {
    /// The codecs of stored batches.
    static let compressionTypes = ConfigValidator.oneOf(["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
}

// Why keys are without effect, where one reason serves many of them.
extension ConfigSupport {
    static let notBetweenNodes = acceptedWithoutEffect("it is not applied between nodes yet")
    static let inlineAssignment = acceptedWithoutEffect("assignments are computed where they are asked for")
    static let noDeadLetterQueues = acceptedWithoutEffect("share groups have no dead letter queues yet")
    static let noShareLinger = acceptedWithoutEffect("each write of a share coordinator is appended by itself")
    static let oneTaskAssignor = acceptedWithoutEffect("the assignor `sticky` is the only one")
    static let noWarmupTasks = acceptedWithoutEffect("the assignor gives out no warm-up tasks, nor does Kafka's")
    static let anyCertificateChange = acceptedWithoutEffect("a new certificate may have other names")
    static let enabledProtocols = acceptedWithoutEffect("ssl.enabled.protocols says which versions are spoken")
    static let noKerberos = acceptedWithoutEffect("GSSAPI (Kerberos) is not available")
    static let noAssertions = acceptedWithoutEffect("token endpoints are asked with an id and a secret, not with assertions")
    static let noPlugins = acceptedWithoutEffect("it names classes of Java's, which there are none of here")
    static let noTieredStorage = acceptedWithoutEffect("tiered storage is not available")
    static let oneCheckpoint = acceptedWithoutEffect(
        "all checkpoints are written together, as often as log.flush.offset.checkpoint.interval.ms says")
    static let ownThreads = acceptedWithoutEffect("requests are worked on by the event loops of num.network.threads")
}
