// UpdateFeatures (KIP-584, KIP-778): levels go up when every node can follow, and down where no metadata is lost.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides an UpdateFeatures request. All updates are made or none.
    ///
    /// - Parameters:
    ///   - apiVersion: the request's; version 0 says "downgrade" otherwise, and versions 0 and 1 want a result per feature.
    ///   - kraftVersion: the quorum's level of kraft.version, which is no metadata record.
    ///   - voters: the ids of the quorum's voters; a level changes only when each of them has said what it supports.
    ///   - reasonAgainstKraftVersion: why the quorum cannot take that level of kraft.version; nil when it can. The caller raises it, before
    ///     the records are appended.
    public func updateFeatures(
        _ request: UpdateFeaturesRequest, apiVersion: Int16, kraftVersion: Int16, voters: [NodeID] = [],
        reasonAgainstKraftVersion: (Int16) -> String? = { _ in "The quorum cannot change it." }
    ) -> ControllerResult<UpdateFeaturesResponse> {
        var response = UpdateFeaturesResponse()
        var records: [VersionedRecord] = []
        do throws(RequestFailure) {
            records = try featureRecords(
                request, apiVersion: apiVersion, kraftVersion: kraftVersion, voters: voters, reasonAgainstKraftVersion)
        } catch {
            response.errorCode = error.code
            response.errorMessage = error.description
            return ControllerResult(response)
        }
        response.errorMessage = nil
        if apiVersion < 2 {
            response.results = request.featureUpdates.map { update in
                var result = UpdateFeaturesResponse.UpdatableFeatureResult()
                result.feature = update.feature
                // Kafka's own words for an update that went well.
                result.errorMessage = "NONE"
                return result
            }
        }
        return ControllerResult(response, records: request.validateOnly ? [] : records)
    }

    /// How the request wants a level to change: 1 up, 2 down safely, 3 down whatever is lost. Version 0 knows only whether a downgrade is
    /// allowed, and means a safe one.
    public static func upgradeType(of update: UpdateFeaturesRequest.FeatureUpdateKey, apiVersion: Int16) -> Int8 {
        apiVersion == 0 ? (update.allowDowngrade ? 2 : 1) : update.upgradeType
    }

    private func featureRecords(
        _ request: UpdateFeaturesRequest, apiVersion: Int16, kraftVersion: Int16, voters: [NodeID],
        _ reasonAgainstKraftVersion: (Int16) -> String?
    ) throws(RequestFailure) -> [VersionedRecord] {
        let updates = request.featureUpdates
        if OrderedSet(updates.map(\.feature)).count != updates.count {
            throw RequestFailure(.invalidRequest, "Each feature must appear at most once.")
        }
        var proposed: OrderedDictionary<String, Int16> = [:]
        for (name, level) in image.features.all { proposed[name] = level }
        for update in updates { proposed[update.feature] = update.maxVersionLevel }
        var records: [VersionedRecord] = []
        for update in updates {
            records += try featureRecords(
                update.feature, to: update.maxVersionLevel, upgradeType: Self.upgradeType(of: update, apiVersion: apiVersion),
                proposed: proposed, kraftVersion: kraftVersion, voters: voters, reasonAgainstKraftVersion)
        }
        let turnsOnEligibleLeaders = updates.contains { $0.feature == FeatureName.eligibleLeaderReplicas && $0.maxVersionLevel > 0 }
        return turnsOnEligibleLeaders ? eligibleLeaderSafetyRecords() + records : records
    }

    private func featureRecords(
        _ name: String, to level: Int16, upgradeType: Int8, proposed: OrderedDictionary<String, Int16>, kraftVersion: Int16,
        voters: [NodeID], _ reasonAgainstKraftVersion: (Int16) -> String?
    ) throws(RequestFailure) -> [VersionedRecord] {
        func refuse(_ reason: String) -> RequestFailure {
            RequestFailure(.invalidUpdateVersion, "Invalid update version \(level) for feature \(name). \(reason)")
        }
        guard (1...3).contains(upgradeType) else { throw refuse("The controller does not support the given upgrade type.") }
        let current = name == FeatureName.kraft ? kraftVersion : image.features.level(of: name)
        if level < 0 { throw refuse("A feature version cannot be less than 0.") }
        if let reason = reasonNotSupported(name, level, voters: voters) { throw refuse(reason) }
        if level < current && upgradeType == 1 {
            throw refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
        }
        if level > current && upgradeType != 1 { throw refuse("Can't downgrade to a newer version.") }
        if name == MetadataVersion.featureName { return [try metadataVersionRecord(level, isUnsafe: upgradeType == 3)] }
        if name == FeatureName.kraft {
            if level < current { throw refuse("Can't downgrade the version of this feature.") }
            if level == current && upgradeType != 1 { return [] }
            if let reason = reasonAgainstKraftVersion(level) { throw RequestFailure(.invalidUpdateVersion, reason) }
            // The level itself is a control record of the quorum; this one shows when it is committed.
            return level == current ? [] : [VersionedRecord(.noOp(NoOpRecord()))]
        }
        guard let feature = Feature.named(name) else { throw refuse("The feature is not known.") }
        if let problem = feature.problem(settingLevel: level, beside: proposed) { throw refuse(problem) }
        return [Self.featureRecord(name, level)]
    }

    static func featureRecord(_ name: String, _ level: Int16) -> VersionedRecord {
        var record = FeatureLevelRecord()
        record.name = name
        record.featureLevel = level
        return VersionedRecord(.featureLevel(record))
    }

    private func metadataVersionRecord(_ level: Int16, isUnsafe: Bool) throws(RequestFailure) -> VersionedRecord {
        guard let target = MetadataVersion(rawValue: level) else {
            throw RequestFailure(
                .invalidUpdateVersion,
                "Invalid metadata.version \(level). Valid versions are from \(MetadataVersion.minimum.rawValue) to "
                    + "\(MetadataVersion.latest.rawValue).")
        }
        if target < version && MetadataVersion.metadataChanged(between: target, and: version) {
            throw RequestFailure(
                .invalidUpdateVersion,
                "Unsupported metadata.version downgrade from \(version.rawValue) to \(target.rawValue). "
                    + (isUnsafe
                        ? "Unsafe metadata downgrade is not supported in this version."
                        : "Refusing to perform the requested downgrade because it might delete metadata information."))
        }
        return Self.featureRecord(MetadataVersion.featureName, level)
    }

    /// Which node cannot work with that level; nil when all can.
    private func reasonNotSupported(_ name: String, _ level: Int16, voters: [NodeID]) -> String? {
        func check(_ node: String, _ features: [SupportedFeature]) -> String? {
            // A node that does not mention a feature knows it as switched off.
            let range = features.first { $0.name == name } ?? SupportedFeature(name: name, minimum: 0, maximum: 0)
            if range.minimum <= level && level <= range.maximum { return nil }
            return range.maximum == 0 && range.minimum == 0
                ? "\(node) does not support this feature." : "\(node) only supports versions \(range.minimum)-\(range.maximum)"
        }
        if let reason = check("Local controller \(configuration.nodeID)", Feature.supportedByThisSoftware) { return reason }
        for broker in image.cluster.brokers.values {
            if let reason = check("Broker \(broker.id)", broker.features) { return reason }
        }
        for controller in image.cluster.controllers.values where controller.id != configuration.nodeID {
            if let reason = check("Controller \(controller.id)", controller.features) { return reason }
        }
        guard version.supportsControllerRegistration else { return nil }
        for voter in voters where voter != configuration.nodeID && image.cluster.controllers[voter] == nil {
            return "controller \(voter) has not registered, and may not support this feature"
        }
        return nil
    }

    /// Before eligible leader replicas are switched on, min ISR moves from the brokers to the cluster (KIP-966).
    private func eligibleLeaderSafetyRecords() -> [VersionedRecord] {
        let key = "min.insync.replicas"
        var records: [VersionedRecord] = []
        func add(_ resourceName: String, _ value: String?) {
            var record = ConfigRecord()
            record.resourceType = ConfigResource.Kind.broker.rawValue
            record.resourceName = resourceName
            record.name = key
            record.value = value
            records.append(VersionedRecord(.config(record)))
        }
        if image.configurations.value(key, of: .clusterDefault) == nil { add("", String(staticMinInSyncReplicas)) }
        for resource in image.configurations.byResource.keys where resource.kind == .broker && !resource.name.isEmpty {
            if image.configurations.value(key, of: resource) != nil { add(resource.name, nil) }
        }
        return records
    }

    /// min.insync.replicas as configured at the start.
    var staticMinInSyncReplicas: Int64 { configuration.fixed["min.insync.replicas"].flatMap { Int64($0) } ?? 1 }
}
