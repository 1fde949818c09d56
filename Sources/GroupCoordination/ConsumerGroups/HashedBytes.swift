// XXH3 with 64 bits over a stream of values, as Kafka hashes a group's topics (KIP-1101; xxHash specification 0.2, XXH3 with the
// default secret and without seed). Kafka compares the hash with what the log says, so ours has to be the same.

/// Values in the order in which they are hashed: numbers in little-endian order, text in UTF-16 followed by its length.
struct HashedBytes: Sendable {
    private var bytes: [UInt8] = []

    var isEmpty: Bool { bytes.isEmpty }

    mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ text: String) {
        var count: Int32 = 0
        for unit in text.utf16 {
            append(unit)
            count += 1
        }
        append(count)
    }

    var hash: Int64 { Int64(bitPattern: XXH3.hash(bytes)) }
}

/// The hash function itself.
enum XXH3 {
    private static let prime32x1: UInt64 = 0x9E37_79B1
    private static let prime32x2: UInt64 = 0x85EB_CA77
    private static let prime32x3: UInt64 = 0xC2B2_AE3D
    private static let prime64x1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime64x2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime64x3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime64x4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime64x5: UInt64 = 0x27D4_EB2F_1656_67C5
    private static let primeMX1: UInt64 = 0x1656_6791_9E37_79F9
    private static let primeMX2: UInt64 = 0x9FB2_1C65_1E98_DF25

    static func hash(_ input: [UInt8]) -> UInt64 {
        switch input.count {
        case 0: avalanche64(read64(secret, 56) ^ read64(secret, 64))
        case 1...3: hash1to3(input)
        case 4...8: hash4to8(input)
        case 9...16: hash9to16(input)
        case 17...128: hash17to128(input)
        case 129...240: hash129to240(input)
        default: hashLong(input)
        }
    }

    // MARK: Up to 16 bytes

    private static func hash1to3(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        let first = UInt32(input[0])
        let middle = UInt32(input[count >> 1])
        let last = UInt32(input[count - 1])
        let combined = (first << 16) | (middle << 24) | last | (UInt32(count) << 8)
        let flip = UInt64(read32(secret, 0) ^ read32(secret, 4))
        return avalanche64(UInt64(combined) ^ flip)
    }

    private static func hash4to8(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        let first = UInt64(read32(input, 0))
        let last = UInt64(read32(input, count - 4))
        let flip = read64(secret, 8) ^ read64(secret, 16)
        var value = (last &+ (first << 32)) ^ flip
        value ^= rotate(value, 49) ^ rotate(value, 24)
        value = value &* primeMX2
        value ^= (value >> 35) &+ UInt64(count)
        value = value &* primeMX2
        return value ^ (value >> 28)
    }

    private static func hash9to16(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        let low = read64(input, 0) ^ (read64(secret, 24) ^ read64(secret, 32))
        let high = read64(input, count - 8) ^ (read64(secret, 40) ^ read64(secret, 48))
        let sum = UInt64(count) &+ low.byteSwapped &+ high &+ multiplyAndFold(low, high)
        return avalanche(sum)
    }

    // MARK: Up to 240 bytes

    private static func hash17to128(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        var sum = UInt64(count) &* prime64x1
        for step in stride(from: (count - 1) / 32, through: 0, by: -1) {
            sum = sum &+ mix16(input, 16 * step, secret, 32 * step)
            sum = sum &+ mix16(input, count - 16 * (step + 1), secret, 32 * step + 16)
        }
        return avalanche(sum)
    }

    private static func hash129to240(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        var sum = UInt64(count) &* prime64x1
        for step in 0..<8 { sum = sum &+ mix16(input, 16 * step, secret, 16 * step) }
        sum = avalanche(sum)
        for step in 8..<(count / 16) { sum = sum &+ mix16(input, 16 * step, secret, 16 * (step - 8) + 3) }
        sum = sum &+ mix16(input, count - 16, secret, 136 - 17)
        return avalanche(sum)
    }

    // MARK: Longer

    private static func hashLong(_ input: [UInt8]) -> UInt64 {
        let count = input.count
        var lanes: [UInt64] = [
            prime32x3, prime64x1, prime64x2, prime64x3, prime64x4, prime32x2, prime64x5, prime32x1,
        ]
        let stripesPerBlock = (secret.count - 64) / 8
        let blockSize = 64 * stripesPerBlock
        let blockCount = (count - 1) / blockSize
        for block in 0..<blockCount {
            for stripe in 0..<stripesPerBlock {
                accumulate(&lanes, input, block * blockSize + 64 * stripe, secretOffset: 8 * stripe)
            }
            for lane in 0..<8 {
                var value = lanes[lane]
                value ^= value >> 47
                value ^= read64(secret, secret.count - 64 + 8 * lane)
                lanes[lane] = value &* prime32x1
            }
        }
        let stripeCount = (count - 1 - blockSize * blockCount) / 64
        for stripe in 0..<stripeCount {
            accumulate(&lanes, input, blockCount * blockSize + 64 * stripe, secretOffset: 8 * stripe)
        }
        accumulate(&lanes, input, count - 64, secretOffset: secret.count - 64 - 7)
        var result = UInt64(count) &* prime64x1
        for pair in 0..<4 {
            let offset = 11 + 16 * pair
            result =
                result &+ multiplyAndFold(lanes[2 * pair] ^ read64(secret, offset), lanes[2 * pair + 1] ^ read64(secret, offset + 8))
        }
        return avalanche(result)
    }

    private static func accumulate(_ lanes: inout [UInt64], _ input: [UInt8], _ offset: Int, secretOffset: Int) {
        for lane in 0..<8 {
            let value = read64(input, offset + 8 * lane)
            let key = value ^ read64(secret, secretOffset + 8 * lane)
            lanes[lane ^ 1] = lanes[lane ^ 1] &+ value
            lanes[lane] = lanes[lane] &+ (key & 0xFFFF_FFFF) &* (key >> 32)
        }
    }

    // MARK: Parts

    private static func mix16(_ input: [UInt8], _ offset: Int, _ secret: [UInt8], _ secretOffset: Int) -> UInt64 {
        multiplyAndFold(
            read64(input, offset) ^ read64(secret, secretOffset), read64(input, offset + 8) ^ read64(secret, secretOffset + 8))
    }

    private static func multiplyAndFold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.low ^ product.high
    }

    private static func avalanche(_ value: UInt64) -> UInt64 {
        var value = value ^ (value >> 37)
        value = value &* primeMX1
        return value ^ (value >> 32)
    }

    private static func avalanche64(_ value: UInt64) -> UInt64 {
        var value = value ^ (value >> 33)
        value = value &* prime64x2
        value ^= value >> 29
        value = value &* prime64x3
        return value ^ (value >> 32)
    }

    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { (value << bits) | (value >> (64 - bits)) }

    private static func read64(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    }

    private static func read32(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    }

    /// The default secret of the specification.
    private static let secret: [UInt8] = [
        0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
        0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
        0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
        0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
        0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
        0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
        0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
        0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
        0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
        0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
        0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
        0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
    ]
}
