// DescribeClientQuotas: the quotas of entities that match a filter (KIP-546), from this broker's metadata.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import OrderedCollections

extension BrokerServices {
    func describeClientQuotas(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeClientQuotasRequest.self)
        guard access(context).allowsCluster(.describeConfigs) else {
            return context.responder.send(DescribeClientQuotasResponse(failure: RequestFailure(.clusterAuthorizationFailed)))
        }
        do throws(RequestFailure) {
            let filter = try request.filter()
            context.responder.send(DescribeClientQuotasResponse(image.clientQuotas, filter))
        } catch {
            context.responder.send(DescribeClientQuotasResponse(failure: error))
        }
    }
}

extension DescribeClientQuotasRequest {
    fileprivate func filter() throws(RequestFailure) -> ClientQuotaFilter {
        var matches: OrderedDictionary<String, ClientQuotaFilter.Match> = [:]
        for component in components {
            let type = component.entityType
            if type.isEmpty { throw RequestFailure(.invalidRequest, "Invalid empty entity type.") }
            if matches[type] != nil {
                throw RequestFailure(.invalidRequest, "Entity type \(type) cannot appear more than once in the filter.")
            }
            guard ["user", "client-id", "ip"].contains(type) else {
                throw RequestFailure(.unsupportedVersion, "Unsupported entity type \(type)")
            }
            matches[type] = try component.matchKind()
        }
        if matches["ip"] != nil, matches.count > 1 {
            throw RequestFailure(
                .invalidRequest,
                "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."
            )
        }
        return ClientQuotaFilter(matches, isStrict: strict)
    }
}

extension DescribeClientQuotasRequest.ComponentData {
    fileprivate func matchKind() throws(RequestFailure) -> ClientQuotaFilter.Match {
        switch (matchType, match) {
        case (0, let name?): return .exactly(name)
        case (0, nil): throw RequestFailure(.invalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null.")
        case (1, nil): return .theDefault
        case (2, nil): return .anything
        case (1, _), (2, _):
            let name = matchType == 1 ? "MATCH_TYPE_DEFAULT" : "MATCH_TYPE_SPECIFIED"
            throw RequestFailure(.invalidRequest, "Request specified \(name), but also specified a match string.")
        default: throw RequestFailure(.invalidRequest, "Unknown match type \(matchType)")
        }
    }
}

extension DescribeClientQuotasResponse {
    fileprivate init(_ quotas: ClientQuotasImage, _ filter: ClientQuotaFilter) {
        self.init()
        errorMessage = nil
        entries = quotas.byEntity.filter { filter.accepts($0.key) }.map { entity, values in
            var entry = EntryData()
            entry.entity = entity.parts.map { part in
                var data = EntityData()
                data.entityType = part.type
                data.entityName = part.name
                return data
            }
            entry.values = values.map { key, value in
                var data = ValueData()
                data.key = key
                data.value = value
                return data
            }
            return entry
        }
    }

    fileprivate init(failure: RequestFailure) {
        self.init()
        errorCode = failure.code
        errorMessage = failure.description
        entries = nil
    }
}
