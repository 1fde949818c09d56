// What a principal may do, as responses say it, while there is no authorizer.

/// Bit fields of the operations that a principal may perform, while there is no authorizer: everything the kind of resource knows.
enum AuthorizedOperations {
    /// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
    static let topic: Int32 = 0b1101_1111_1000
    /// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
    static let cluster: Int32 = 0b1_1111_1010_0000
    /// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
    static let group: Int32 = 0b1101_0100_1000
}
