// What the definitions' parser refuses, and that it says where.
import KafkaSchema
import Testing

@Suite struct DefinitionParserTests {
    private func error(_ text: String) -> String? {
        do {
            var parser = try DefinitionParser(text, file: "a.kafka")
            _ = try parser.definition()
            return nil
        } catch {
            return error.description
        }
    }

    private func fieldError(_ field: String) -> String? {
        error("data Thing 0-3 flexible 2+\n    \(field)\n")
    }

    @Test func readsAnAPI() throws {
        let text = """
            # A comment.
            api 19 CreateTopics on broker, controller forwardable stable 2-6
            request 2-7 flexible 5+
                topics: [CreatableTopic]
                    name: string key entity topicName
                    note: string 3+ nullable 5+
                others: [CreatableTopic] 4+
                limit: int32 5+ tag 0 = 0x7fffffff ignorable
            response 2-7 flexible 5+
            """
        var parser = try DefinitionParser(text, file: "a.kafka")
        guard case .api(let api) = try parser.definition() else {
            Issue.record("no API")
            return
        }
        #expect(api.key == 19 && api.name == "CreateTopics" && api.isForwardable && !api.isClusterAction)
        #expect(api.listeners == ["broker", "controller"])
        #expect(api.stable == VersionRange(2, 6))
        #expect(api.request.name == "CreateTopicsRequest")
        #expect(api.request.fields.map(\.name) == ["topics", "others", "limit"])
        #expect(api.request.structures.map(\.name) == ["CreatableTopic"])
        let note = api.request.structures[0].fields[1]
        #expect(note.versions == VersionRange(3, 7) && note.nullable == VersionRange(5, 7))
        #expect(api.request.fields[2].tag == 0 && api.request.fields[2].isIgnorable)
        #expect(api.response.fields.isEmpty)
        // The text of a message by itself reads as the same message.
        var again = try DefinitionParser(api.request.text, file: "b.kafka")
        let message = try again.message(named: "CreateTopicsRequest")
        #expect(message.structures.map { $0.fields.map(\.name) } == api.request.structures.map { $0.fields.map(\.name) })
        #expect(message.text == api.request.text)
    }

    @Test func aStructureUsedAgainIsThereInMoreVersions() throws {
        var parser = try DefinitionParser("data T 0-5\n    a: [S] 4+\n        x: int8\n        y: string? 5+\n    b: [S] 0-3\n", file: "a")
        guard case .data(let message) = try parser.definition() else {
            Issue.record("no data")
            return
        }
        #expect(message.structures[0].versions == VersionRange(0, 5))
        #expect(message.structures[0].fields[0].versions == VersionRange(0, 5))
        #expect(message.structures[0].fields[1].versions == VersionRange(5, 5))
    }

    @Test func headings() {
        #expect(error("") == "a.kafka:1: no definition")
        #expect(error("\n\nthing X 0\n") == "a.kafka:3: expected api, record, metadata, remoteLogMetadata, header or data, not 'thing'")
        #expect(error("data X") == "a.kafka:1: expected versions")
        #expect(error("data X 0+") == "a.kafka:1: a message's versions need an end")
        #expect(error("data X 3-1") == "a.kafka:1: expected versions such as 3+, 3-5 or 3, not '3-1'")
        #expect(error("data x 0") == "a.kafka:1: 'x' is no name: letters and digits, the first one large")
        #expect(error("data X 0 soft") == "a.kafka:1: 'soft' is not expected here")
        #expect(error("metadata X 0") == "a.kafka:1: expected the record's type, not 'X'")
        #expect(error("api 1 Fetch on nowhere") == "a.kafka:1: expected the listeners: broker, controller")
        #expect(error("api 1 Fetch on broker\nresponse 0") == "a.kafka:2: expected 'request VERSIONS'")
        #expect(error("api 1 Fetch on broker\nrequest 0") == "a.kafka:2: expected 'response VERSIONS'")
        #expect(error("record 1 X in topic\nkey 0\nvalue 0\nkey 0") == "a.kafka:4: expected nothing more")
        #expect(error("data X 0\n   a: int8") == "a.kafka:2: indent by four spaces a level, not by 3")
        #expect(error("data X 0\n    a: int8\n        b: int8") == "a.kafka:3: indented too far")
        #expect(error("    data X 0") == "a.kafka:1: expected a heading at the left edge")
    }

    @Test func fields() {
        #expect(fieldError("a: int8") == nil)
        #expect(fieldError("a int8") == "a.kafka:2: expected 'name: type'")
        #expect(fieldError("A: int8") == "a.kafka:2: 'A' is no field name: letters and digits, the first one small")
        #expect(fieldError("a: int9") == "a.kafka:2: unknown type 'int9'")
        #expect(fieldError("a: [[int8]]") == "a.kafka:2: arrays of arrays do not exist")
        #expect(fieldError("a: Other") == "a.kafka:2: the fields of Other are missing")
        #expect(fieldError("a: int8?") == "a.kafka:2: int8 cannot be null")
        #expect(fieldError("a: string? nullable 2+") == "a.kafka:2: either '?' or 'nullable'")
        #expect(fieldError("a: int8 4+") == "a.kafka:2: a is in no version of what holds it")
        #expect(fieldError("a: int8 tag 0") == "a.kafka:2: a tagged field needs flexible versions")
        #expect(fieldError("a: int8 2+ tag x") == "a.kafka:2: expected a tag, not 'x'")
        #expect(fieldError("a: int8 = 128") == "a.kafka:2: '128' is no default for a")
        #expect(fieldError("a: bool = 1") == "a.kafka:2: '1' is no default for a")
        #expect(fieldError("a: string = null") == "a.kafka:2: 'null' is no default for a")
        #expect(fieldError("a: int8 key ignorable") == "a.kafka:2: 'ignorable' is not expected here")
        #expect(fieldError("a: int8\n    a: int16") == "a.kafka:3: a is there already")
        #expect(fieldError("a: int8 2+ tag 1\n    b: int8 2+ tag 1") == "a.kafka:3: tag 1 is taken")
        #expect(fieldError("a: [S]\n        x: int8\n    b: S\n        x: int8") == "a.kafka:5: S was described before")
    }

    @Test func errorTable() throws {
        let errors = try DefinitionParser.errors("-1 UNKNOWN\n3 GONE retriable refreshesMetadata \"It is gone.\"\n", file: "e")
        #expect(errors.map(\.code) == [-1, 3])
        #expect(errors[1].isRetriable && errors[1].refreshesMetadata && errors[1].message == "It is gone.")
        func failure(_ text: String) -> String? {
            do {
                _ = try DefinitionParser.errors(text, file: "e")
                return nil
            } catch { return error.description }
        }
        #expect(failure("x NAME") == "e:1: expected the error's code, not 'x'")
        #expect(failure("1 A\n1 B") == "e:2: 1 or B is there already")
        #expect(failure("1 A \"open") == "e:1: the message lacks its closing quote")
        #expect(failure("1 A often") == "e:1: 'often' is not expected here")
        #expect(failure("\"") == "e:1: expected the error's code")
    }
}
