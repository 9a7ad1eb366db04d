-- SPDX-License-Identifier: BSD-2-Clause
-- Wireshark dissector of the Farbus protocol, version 1 (docs/protocol.md). Needs nothing else.
--   wireshark -X lua_script:tools/farbus.lua capture.pcap        or copy it into the personal plugins folder
--   tshark -2 -X lua_script:tools/farbus.lua -r capture.pcap -Y "farbus.record.type == 5"
-- (-2: two passes, so that requests can name the frame that completes them.)
-- Shows frames and records, joins requests with their completions (farbus.response_in, farbus.request_in, farbus.time), marks
-- retransmissions, and says in expert information what is malformed and why the receiver drops it. Of sealed frames it shows what can be
-- seen without keys: the header, the counter, sizes; announcements are readable.

local farbus = Proto("farbus", "Farbus bus extension")

local MAGIC, PORT, ETHERTYPE = 0x53424146, 51966, 0x88B5
local HEADER, RECORD, ACCESS, FUNCTION, ANNOUNCE_HEAD = 24, 8, 12, 92, 52

local frame_types = { "ANNOUNCE", "HELLO", "HELLO_ACK", "DATA", "ACK", "BYE", "PROBE" }
local probe_kinds = { "ASK", "ANSWER", "DONE" }
local hello_status = { [0] = "OK", "REFUSED", "FULL", "WRONG_NODE", "VERSION" }
local bye_reasons = { [0] = "CLOSED", "UNKNOWN_EPOCH", "REPLACED", "TIMEOUT", "REFUSED" }
local cpl_status = { [0] = "SC", [1] = "UR", [2] = "CRS", [4] = "CA", [0x10] = "OWNED", [0x11] = "NOT_LENT", [0x12] = "DENIED" }
local bar_kinds = { [0] = "none", "I/O", "32-bit memory", "64-bit memory" }
local severities = { [0] = "correctable", "non-fatal", "fatal" }

-- type = name, direction ("r" to the remote, "h" to the host, "b" both), least and most bytes behind the header, kind
local records = {
    [0x01] = { "CfgRd", "r", 12, 12, "access" },
    [0x02] = { "CfgWr", "r", 13, 16, "access" },
    [0x03] = { "IORd", "r", 12, 12, "access" },
    [0x04] = { "IOWr", "r", 13, 16, "access" },
    [0x05] = { "MRd", "r", 12, 12, "access" },
    [0x06] = { "MWr", "r", 13, 268, "access" },
    [0x10] = { "Cpl", "h", 0, 0, "completion" },
    [0x11] = { "CplD", "h", 1, 256, "completion" },
    [0x20] = { "ATTACH", "r", 4, 4, "attach" },
    [0x21] = { "DETACH", "r", 0, 0, "control" },
    [0x22] = { "RESET", "r", 0, 0, "control" },
    [0x23] = { "INTERRUPTS", "r", 4, 260, "interrupts" },
    [0x30] = { "INTx", "h", 4, 4, "intx" },
    [0x31] = { "MSI", "h", 4, 4, "msi" },
    [0x32] = { "GONE", "h", 0, 0, "event" },
    [0x33] = { "ERROR", "h", 4, 4, "error" },
    [0x34] = { "CREDIT", "b", 4, 4, "credit" },
    [0x35] = { "EOI", "r", 0, 0, "event" },
    [0x40] = { "DMA_START", "r", 0, 0, "control" },
    [0x41] = { "DMA_MAP", "r", 24, 24, "map" },
    [0x42] = { "DMA_UNMAP", "r", 16, 16, "unmap" },
    [0x43] = { "DMA_DATA", "b", 12, 9000, "mirror" },
    [0x44] = { "DMA_SPOILED", "h", 8, 8, "spoiled" },
    [0x45] = { "DMA_FAULT", "h", 16, 16, "fault" },
}
local record_names = {}
for number, row in pairs(records) do
    record_names[number] = row[1]
end
local answered = { [1] = true, [2] = true, [3] = true, [4] = true, [5] = true, [0x20] = true, [0x21] = true, [0x22] = true, [0x23] = true, [0x40] = true }
local accesses = { "read", "write", "read and write" }
local interrupt_modes = { [0] = "none", "INTx", "MSI", "MSI-X" }
local most_messages = { [0] = 0, 0, 32, 2048 }

local f = {
    magic = ProtoField.uint32("farbus.magic", "Magic", base.HEX),
    version = ProtoField.uint8("farbus.version", "Version"),
    type = ProtoField.uint8("farbus.type", "Frame type", base.DEC, frame_types, 0x7f),
    sealed = ProtoField.bool("farbus.sealed", "Sealed", 8, nil, 0x80),
    counter = ProtoField.uint64("farbus.seal.counter", "Counter"),
    ciphertext = ProtoField.bytes("farbus.seal.body", "Encrypted"),
    tag = ProtoField.bytes("farbus.seal.tag", "Tag"),
    ephemeral = ProtoField.bytes("farbus.noise.e", "Ephemeral public key"),
    noise = ProtoField.bytes("farbus.noise.rest", "Encrypted"),
    mac = ProtoField.bytes("farbus.seal.mac", "MAC"),
    length = ProtoField.uint16("farbus.length", "Length"),
    epoch = ProtoField.uint32("farbus.epoch", "Epoch", base.HEX),
    sequence = ProtoField.uint32("farbus.sequence", "Sequence"),
    ack = ProtoField.uint32("farbus.ack", "Acknowledged up to"),
    sack = ProtoField.uint32("farbus.sack", "Received beyond", base.HEX),
    boot_id = ProtoField.uint32("farbus.boot_id", "Boot id", base.HEX),
    node = ProtoField.string("farbus.node", "Node"),
    to = ProtoField.string("farbus.to", "To node"),
    why = ProtoField.string("farbus.why", "Why"),
    attempt = ProtoField.uint32("farbus.hello.attempt", "Attempt"),
    version_min = ProtoField.uint8("farbus.hello.version_min", "Lowest version"),
    version_max = ProtoField.uint8("farbus.hello.version_max", "Highest version"),
    frame_max = ProtoField.uint16("farbus.frame_max", "Largest frame"),
    capabilities = ProtoField.uint32("farbus.capabilities", "Capabilities", base.HEX),
    hello_status = ProtoField.uint8("farbus.hello.status", "Status", base.DEC, hello_status),
    chosen = ProtoField.uint8("farbus.hello.version", "Version chosen"),
    probe_kind = ProtoField.uint8("farbus.probe.kind", "Kind", base.DEC, probe_kinds),
    bye_reason = ProtoField.uint8("farbus.bye.reason", "Reason", base.DEC, bye_reasons),
    generation = ProtoField.uint32("farbus.announce.generation", "Generation", base.HEX),
    total = ProtoField.uint16("farbus.announce.total", "Functions in all"),
    part = ProtoField.uint8("farbus.announce.part", "Part"),
    parts = ProtoField.uint8("farbus.announce.parts", "Parts"),
    first = ProtoField.uint16("farbus.announce.first", "First function here"),
    count = ProtoField.uint16("farbus.announce.count", "Functions here"),
    fn_address = ProtoField.string("farbus.function.address", "PCI address"),
    fn_vendor = ProtoField.uint16("farbus.function.vendor", "Vendor", base.HEX),
    fn_device = ProtoField.uint16("farbus.function.device", "Device", base.HEX),
    fn_subvendor = ProtoField.uint16("farbus.function.subsystem_vendor", "Subsystem vendor", base.HEX),
    fn_subsystem = ProtoField.uint16("farbus.function.subsystem", "Subsystem", base.HEX),
    fn_class = ProtoField.uint24("farbus.function.class", "Class, subclass, interface", base.HEX),
    fn_revision = ProtoField.uint8("farbus.function.revision", "Revision", base.HEX),
    fn_pin = ProtoField.uint8("farbus.function.pin", "Interrupt pin"),
    fn_busy = ProtoField.bool("farbus.function.busy", "Lent to a host", 8, nil, 0x01),
    fn_flr = ProtoField.bool("farbus.function.flr", "Can be reset alone", 8, nil, 0x02),
    fn_msi = ProtoField.bool("farbus.function.msi", "MSI and MSI-X can be enabled", 8, nil, 0x04),
    fn_dma = ProtoField.bool("farbus.function.dma", "May master the bus, confined", 8, nil, 0x08),
    bar = ProtoField.string("farbus.function.bar", "BAR"),
    reserved = ProtoField.bytes("farbus.reserved", "Reserved"),
    r_type = ProtoField.uint8("farbus.record.type", "Type", base.HEX, record_names),
    r_status = ProtoField.uint8("farbus.record.status", "Status", base.HEX, cpl_status),
    r_length = ProtoField.uint16("farbus.record.length", "Length"),
    r_function = ProtoField.uint16("farbus.record.function", "Function handle"),
    r_tag = ProtoField.uint16("farbus.record.tag", "Tag", base.HEX),
    a_bar = ProtoField.uint8("farbus.access.bar", "BAR"),
    a_size = ProtoField.uint16("farbus.access.size", "Size"),
    a_offset = ProtoField.uint64("farbus.access.offset", "Offset", base.HEX),
    data = ProtoField.bytes("farbus.data", "Data"),
    handle = ProtoField.uint16("farbus.attached.handle", "Handle"),
    credits = ProtoField.uint16("farbus.attached.credits", "Credits granted"),
    pin = ProtoField.uint8("farbus.intx.pin", "Pin"),
    asserted = ProtoField.uint8("farbus.intx.asserted", "Asserted"),
    vector = ProtoField.uint16("farbus.msi.vector", "Vector"),
    mode = ProtoField.uint8("farbus.interrupts.mode", "Mode", base.DEC, interrupt_modes),
    messages = ProtoField.uint16("farbus.interrupts.count", "Messages"),
    wanted = ProtoField.bytes("farbus.interrupts.wanted", "Wanted"),
    severity = ProtoField.uint8("farbus.error.severity", "Severity", base.DEC, severities),
    credit = ProtoField.uint16("farbus.credit.count", "Credits returned"),
    slots = ProtoField.uint32("farbus.dma.slots", "Slots granted"),
    slot = ProtoField.uint32("farbus.dma.slot", "Slot"),
    iova = ProtoField.uint64("farbus.dma.iova", "Address of the function", base.HEX),
    dma_generation = ProtoField.uint32("farbus.dma.generation", "Generation of the mapping"),
    dma_access = ProtoField.uint8("farbus.dma.access", "The function may", base.DEC, accesses),
    pages = ProtoField.uint32("farbus.dma.pages", "Pages"),
    seen = ProtoField.uint32("farbus.dma.seen", "DATA records taken"),
    clear = ProtoField.bool("farbus.dma.clear", "All bytes are 0 first", 8, nil, 0x01),
    more = ProtoField.bool("farbus.dma.more", "The round goes on", 8, nil, 0x02),
    run = ProtoField.bytes("farbus.dma.run", "Run"),
    dma_write = ProtoField.uint8("farbus.dma.write", "It wanted to write"),
    fault_reason = ProtoField.uint8("farbus.dma.reason", "Reason (VT-d, at the remote)"),
    response_in = ProtoField.framenum("farbus.response_in", "Completed in", base.NONE, frametype.RESPONSE),
    request_in = ProtoField.framenum("farbus.request_in", "Completes", base.NONE, frametype.REQUEST),
    time = ProtoField.relative_time("farbus.time", "Time since request"),
    first_sent = ProtoField.framenum("farbus.first_sent_in", "First sent in", base.NONE, frametype.RETRANS_PREV),
}
farbus.fields = f

local e = {
    malformed = ProtoExpert.new("farbus.malformed", "Malformed: the receiver drops this frame", expert.group.MALFORMED, expert.severity.ERROR),
    retransmission = ProtoExpert.new("farbus.retransmission", "Sent before", expert.group.SEQUENCE, expert.severity.NOTE),
    gap = ProtoExpert.new("farbus.gap", "The peer lacks a frame", expert.group.SEQUENCE, expert.severity.NOTE),
    refused = ProtoExpert.new("farbus.refused", "Refused", expert.group.RESPONSE_CODE, expert.severity.WARN),
    unmatched = ProtoExpert.new("farbus.unmatched", "No request of this tag is in the capture", expert.group.SEQUENCE, expert.severity.NOTE),
}
farbus.experts = { e.malformed, e.retransmission, e.gap, e.refused, e.unmatched }

-- What was learnt in the first pass over the capture; Wireshark calls init before each.
local hosts      -- "address|epoch" = true: this end is the host
local sent       -- "source|epoch|sequence" = number of the frame that was first
local requests   -- "link|tag" = { newest = record }, record = { frame, time, response }
local of_record  -- "frame|index" = the request, seen from request and completion
function farbus.init()
    hosts, sent, requests, of_record = {}, {}, {}, {}
end

local function address(a, b)
    a, b = tostring(a), tostring(b)
    return a < b and a .. "|" .. b or b .. "|" .. a
end

local function bad(tree, range, text)
    tree:add_tvb_expert_info(e.malformed, range, "Malformed: " .. text)
end

local function zero(tree, range)
    tree:add(f.reserved, range)
    for i = 0, range:len() - 1 do
        if range(i, 1):uint() ~= 0 then
            bad(tree, range, "reserved bytes are not 0")
            return
        end
    end
end

local function dissect_function(tvb, tree)
    local devfn = tvb(3, 1):uint()
    local at = string.format("%04x:%02x:%02x.%d", tvb(0, 2):le_uint(), tvb(2, 1):uint(), math.floor(devfn / 8), devfn % 8)
    local sub = tree:add(tvb(0, FUNCTION), string.format("Function %s [%02x%02x]: %04x:%04x", at, tvb(12, 1):uint(), tvb(13, 1):uint(),
        tvb(4, 2):le_uint(), tvb(6, 2):le_uint()))
    sub:add(f.fn_address, tvb(0, 4), at)
    sub:add_le(f.fn_vendor, tvb(4, 2))
    sub:add_le(f.fn_device, tvb(6, 2))
    sub:add_le(f.fn_subvendor, tvb(8, 2))
    sub:add_le(f.fn_subsystem, tvb(10, 2))
    sub:add(f.fn_class, tvb(12, 3))
    sub:add(f.fn_revision, tvb(15, 1))
    sub:add(f.fn_pin, tvb(16, 1))
    sub:add(f.fn_busy, tvb(17, 1))
    sub:add(f.fn_flr, tvb(17, 1))
    sub:add(f.fn_msi, tvb(17, 1))
    sub:add(f.fn_dma, tvb(17, 1))
    zero(sub, tvb(18, 2))
    if tvb(4, 2):le_uint() == 0xffff then bad(sub, tvb(4, 2), "no vendor has this number") end
    if tvb(16, 1):uint() > 4 then bad(sub, tvb(16, 1), "pins go to 4") end
    if tvb(17, 1):uint() > 15 then bad(sub, tvb(17, 1), "unknown flags") end
    for i = 0, 5 do
        local b = tvb(20 + 12 * i, 12)
        local kind, size = b(8, 1):uint(), b(0, 8):le_uint64()
        if kind % 128 > 3 or (kind == 0) ~= (size == UInt64(0)) then
            bad(sub, b, "BAR " .. i .. ": kind and size do not fit")
        elseif kind ~= 0 then
            sub:add(f.bar, b, string.format("%d: %s bytes, %s%s", i, tostring(size), bar_kinds[kind % 128],
                kind >= 128 and ", prefetchable" or ""))
        end
    end
end

local function name_of(range)
    return range:stringz()
end

local function dissect_announce(tvb, tree, pinfo)
    if tvb:len() < ANNOUNCE_HEAD then
        bad(tree, tvb(0), "shorter than an announcement")
        return
    end
    local count, total = tvb(46, 2):le_uint(), tvb(40, 2):le_uint()
    tree:add(f.node, tvb(0, 32), name_of(tvb(0, 32)))
    tree:add_le(f.boot_id, tvb(32, 4))
    tree:add_le(f.generation, tvb(36, 4))
    tree:add_le(f.total, tvb(40, 2))
    tree:add(f.part, tvb(42, 1))
    tree:add(f.parts, tvb(43, 1))
    tree:add_le(f.first, tvb(44, 2))
    tree:add_le(f.count, tvb(46, 2))
    zero(tree, tvb(48, 4))
    pinfo.cols.info:append(string.format(" %s lends %d function%s", name_of(tvb(0, 32)), total, total == 1 and "" or "s"))
    if tvb(42, 1):uint() >= tvb(43, 1):uint() then bad(tree, tvb(42, 2), "part beyond the last") end
    if tvb(44, 2):le_uint() + count > total then bad(tree, tvb(44, 4), "more functions than there are") end
    if tvb:len() ~= ANNOUNCE_HEAD + count * FUNCTION then
        bad(tree, tvb(46, 2), "count does not fit the frame")
        return
    end
    for i = 0, count - 1 do
        dissect_function(tvb(ANNOUNCE_HEAD + i * FUNCTION, FUNCTION):tvb(), tree)
    end
end

local function dissect_hello(tvb, tree, pinfo)
    if tvb:len() ~= 80 then
        bad(tree, tvb(0), "a HELLO has 80 bytes")
        return
    end
    tree:add_le(f.boot_id, tvb(0, 4))
    tree:add_le(f.attempt, tvb(4, 4))
    tree:add(f.version_min, tvb(8, 1))
    tree:add(f.version_max, tvb(9, 1))
    tree:add_le(f.frame_max, tvb(10, 2))
    tree:add_le(f.capabilities, tvb(12, 4))
    tree:add(f.node, tvb(16, 32), name_of(tvb(16, 32)))
    tree:add(f.to, tvb(48, 32), name_of(tvb(48, 32)))
    pinfo.cols.info:append(string.format(" from %s to %s", name_of(tvb(16, 32)), name_of(tvb(48, 32))))
    if tvb(8, 1):uint() == 0 or tvb(8, 1):uint() > tvb(9, 1):uint() then bad(tree, tvb(8, 2), "no such range of versions") end
    if tvb(10, 2):le_uint() < 548 or tvb(10, 2):le_uint() > 8972 then bad(tree, tvb(10, 2), "frames are 548 to 8972 bytes") end
end

local function dissect_hello_ack(tvb, tree, pinfo)
    if tvb:len() ~= 112 then
        bad(tree, tvb(0), "a HELLO_ACK has 112 bytes")
        return
    end
    local status = tvb(4, 1):uint()
    tree:add_le(f.boot_id, tvb(0, 4))
    local item = tree:add(f.hello_status, tvb(4, 1))
    tree:add(f.chosen, tvb(5, 1))
    tree:add_le(f.frame_max, tvb(6, 2))
    tree:add_le(f.capabilities, tvb(8, 4))
    zero(tree, tvb(12, 4))
    tree:add(f.node, tvb(16, 32), name_of(tvb(16, 32)))
    tree:add(f.why, tvb(48, 64), name_of(tvb(48, 64)))
    pinfo.cols.info:append(string.format(" from %s: %s %s", name_of(tvb(16, 32)), hello_status[status] or "?", name_of(tvb(48, 64))))
    if not hello_status[status] then
        bad(tree, tvb(4, 1), "unknown status")
    elseif status ~= 0 then
        item:add_proto_expert_info(e.refused)
    end
end

local function dissect_bye(tvb, tree, pinfo)
    if tvb:len() ~= 64 then
        bad(tree, tvb(0), "a BYE has 64 bytes")
        return
    end
    tree:add(f.bye_reason, tvb(0, 1))
    zero(tree, tvb(1, 3))
    tree:add(f.why, tvb(4, 60), name_of(tvb(4, 60)))
    pinfo.cols.info:append(string.format(" %s: %s", bye_reasons[tvb(0, 1):uint()] or "?", name_of(tvb(4, 60))))
    if not bye_reasons[tvb(0, 1):uint()] then bad(tree, tvb(0, 1), "unknown reason") end
end

local function dissect_probe(tvb, tree, pinfo)
    if tvb:len() < 8 then
        bad(tree, tvb(0), "a PROBE has at least 8 bytes")
        return
    end
    local kind = tvb(0, 1):uint()
    tree:add(f.probe_kind, tvb(0, 1))
    zero(tree, tvb(1))
    pinfo.cols.info:append(string.format(" %s, %d bytes", probe_kinds[kind] or "?", HEADER + tvb:len()))
    if not probe_kinds[kind] then bad(tree, tvb(0, 1), "unknown kind") end
    if kind == 3 and tvb:len() ~= 8 then bad(tree, tvb(8), "a DONE has 8 bytes") end
end

local function dissect_access(tvb, tree, kind, text)
    local size = tvb(10 - 8 + 8, 2):le_uint()
    local write = kind == 2 or kind == 4 or kind == 6
    local high, low = tvb(12, 4):le_uint(), tvb(16, 4):le_uint()
    local offset = UInt64(low, high)
    tree:add(f.a_bar, tvb(8, 1))
    zero(tree, tvb(9, 1))
    tree:add_le(f.a_size, tvb(10, 2))
    tree:add(f.a_offset, tvb(12, 8), offset)
    if tvb(8, 1):uint() > 5 then bad(tree, tvb(8, 1), "there are BARs 0 to 5") end
    if size == 0 or size > 256 or (kind <= 4 and (size == 3 or size > 4)) then bad(tree, tvb(10, 2), "no such size of an access") end
    if kind <= 2 and tvb(8, 1):uint() ~= 0 then bad(tree, tvb(8, 1), "configuration space is not in a BAR") end
    if kind <= 4 and (high ~= 0 or low + size > (kind <= 2 and 4096 or 65536)) then bad(tree, tvb(12, 8), "outside of the space") end
    if tvb:len() ~= RECORD + ACCESS + (write and size or 0) then
        bad(tree, tvb(10, 2), "size does not fit the record")
    elseif write then
        tree:add(f.data, tvb(RECORD + ACCESS, size))
    end
    local where = kind <= 2 and "config" or "BAR" .. tvb(8, 1):uint()
    return string.format("%s %s+0x%x %d", text, where, low, size)
end

-- any: an address that the function asked for; else one that a host gave it
local function page_address(tvb, tree, any)
    local high, low = tvb(12, 4):le_uint(), tvb(8, 4):le_uint()
    tree:add_le(f.iova, tvb(8, 8))
    if low % 4096 ~= 0 then bad(tree, tvb(8, 8), "not the address of a page") end
    if not any and high >= 128 then bad(tree, tvb(8, 8), "addresses have 39 bits") end
    return high > 0 and string.format("0x%x%08x", high, low) or string.format("0x%x", low)
end

local function dissect_map(tvb, tree)
    local may = tvb(24, 1):uint()
    local at = page_address(tvb, tree)
    tree:add_le(f.slot, tvb(16, 4))
    tree:add_le(f.dma_generation, tvb(20, 4))
    tree:add(f.dma_access, tvb(24, 1))
    zero(tree, tvb(25, 7))
    if tvb(12, 4):le_uint() == 0 and tvb(10, 2):le_uint() - tvb(10, 2):le_uint() % 16 == 0xfee0 then
        bad(tree, tvb(8, 8), "interrupts are there")
    end
    if not accesses[may] then bad(tree, tvb(24, 1), "no such access") end
    return string.format(" %s=%d to %s", at, tvb(16, 4):le_uint(), accesses[may] or "?")
end

local function dissect_mirror(tvb, tree)
    local size, at, sum, last = tvb:len(), RECORD + 12, 0, -1
    local flags, range = tvb(16, 1):uint(), nil
    tree:add_le(f.slot, tvb(8, 4))
    tree:add_le(f.dma_generation, tvb(12, 4))
    tree:add(f.clear, tvb(16, 1))
    tree:add(f.more, tvb(16, 1))
    zero(tree, tvb(17, 3))
    if flags > 3 then bad(tree, tvb(16, 1), "unknown flags") end
    while at < size do
        local offset = size - at >= 4 and tvb(at, 2):le_uint() or 0
        local count = size - at >= 4 and tvb(at + 2, 2):le_uint() or 0
        if count == 0 or at + 4 + count > size or offset + count > 4096 or offset <= last then
            bad(tree, tvb(at), "a run that is empty, out of order, or outside of the page or the record")
            break
        end
        tree:add(f.run, tvb(at + 4, count)):set_text(string.format("Run: 0x%03x, %d bytes", offset, count))
        at, sum, last = at + 4 + count, sum + count, offset + count
    end
    return string.format(" %d: %d bytes%s%s", tvb(8, 4):le_uint(), sum, flags % 2 == 1 and ", cleared" or "", flags >= 2 and ", more" or "")
end

-- One record; returns what the information column says of it.
local function dissect_record(tvb, tree, pinfo, link, index, again)
    local kind, length = tvb(0, 1):uint(), tvb(2, 2):le_uint()
    local row = records[kind]
    local sub = tree:add(tvb(0), "Record: " .. (row and row[1] or string.format("type 0x%02x", kind)))
    sub:add(f.r_type, tvb(0, 1))
    local status = sub:add(f.r_status, tvb(1, 1))
    sub:add_le(f.r_length, tvb(2, 2))
    sub:add_le(f.r_function, tvb(4, 2))
    sub:add_le(f.r_tag, tvb(6, 2))
    if not row then
        bad(sub, tvb(0, 1), "unknown record type")
        return "?"
    end
    if link.from_host ~= nil and row[2] ~= "b" and (row[2] == "r") ~= link.from_host then
        bad(sub, tvb(0, 1), "this record does not go this way")
    end
    local size, handle, tag = length - RECORD, tvb(4, 2):le_uint(), tvb(6, 2):le_uint()
    if size < row[3] or size > row[4] then
        bad(sub, tvb(2, 2), string.format("%s has %d to %d bytes behind its header", row[1], row[3], row[4]))
        return row[1] .. "?"
    end
    local class, text = row[5], row[1]
    if class ~= "completion" then
        if tvb(1, 1):uint() ~= 0 then bad(sub, tvb(1, 1), "only completions have a status") end
        if class == "attach" and handle ~= 0 or class ~= "attach" and (handle == 0 or handle > 255) then bad(sub, tvb(4, 2), "no such handle") end
    end

    local key = string.format("%s|%s|%04x", link.name, link.epoch, tag)
    local mark = pinfo.number .. "|" .. index
    if answered[kind] and not again and not pinfo.visited then
        of_record[mark] = { frame = pinfo.number, time = pinfo.abs_ts, kind = kind }
        requests[key] = of_record[mark]
    end
    local request = of_record[mark]
    if answered[kind] and request and request.response then
        sub:add(f.response_in, request.response):set_generated()
    end

    if class == "access" then
        text = dissect_access(tvb, sub, kind, text)
    elseif class == "attach" then
        local devfn = tvb(11, 1):uint()
        local at = string.format("%04x:%02x:%02x.%d", tvb(8, 2):le_uint(), tvb(10, 1):uint(), math.floor(devfn / 8), devfn % 8)
        sub:add(f.fn_address, tvb(8, 4), at)
        text = text .. " " .. at
    elseif class == "completion" then
        local s = tvb(1, 1):uint()
        if not cpl_status[s] or (kind == 0x11 and s ~= 0 and s ~= 0x10) then
            bad(sub, tvb(1, 1), "no such completion status")
        elseif s ~= 0 then
            status:add_proto_expert_info(e.refused, "Completion status " .. cpl_status[s])
        end
        if not again and not pinfo.visited and requests[key] then
            request = requests[key]
            request.response = pinfo.number
            of_record[mark] = request
            requests[key] = nil
        end
        if request then
            sub:add(f.request_in, request.frame):set_generated()
            local passed = math.floor((pinfo.abs_ts - request.time) * 1e6 + 0.5)
            sub:add(f.time, NSTime.new(math.floor(passed / 1e6), (passed % 1000000) * 1000)):set_generated()
            text = text .. " of " .. record_names[request.kind]
        elseif not again then
            sub:add_proto_expert_info(e.unmatched)
        end
        text = text .. " " .. (cpl_status[s] or "?")
        if kind == 0x11 and request and request.kind == 0x20 and s == 0 and size == 4 + FUNCTION then
            sub:add_le(f.handle, tvb(8, 2))
            sub:add_le(f.credits, tvb(10, 2))
            dissect_function(tvb(12, FUNCTION):tvb(), sub)
        elseif kind == 0x11 and request and request.kind == 0x40 and size == 8 then
            sub:add_le(f.slots, tvb(8, 4))
            zero(sub, tvb(12, 4))
        elseif kind == 0x11 then
            sub:add(f.data, tvb(8, size))
        end
    elseif class == "interrupts" then
        local mode, count = tvb(8, 1):uint(), tvb(10, 2):le_uint()
        sub:add(f.mode, tvb(8, 1))
        zero(sub, tvb(9, 1))
        sub:add_le(f.messages, tvb(10, 2))
        if size > 4 then sub:add(f.wanted, tvb(12, size - 4)) end
        local most = most_messages[mode]
        if not most then bad(sub, tvb(8, 1), "unknown mode") end
        if most and (count > most or (count == 0) ~= (most == 0)) then bad(sub, tvb(10, 2), "not that many messages") end
        if size ~= 4 + math.floor((count + 7) / 8) then bad(sub, tvb(2, 2), "one bit for each message") end
        text = text .. " " .. (interrupt_modes[mode] or "?")
    elseif class == "intx" then
        sub:add(f.pin, tvb(8, 1))
        sub:add(f.asserted, tvb(9, 1))
        zero(sub, tvb(10, 2))
        if tvb(8, 1):uint() < 1 or tvb(8, 1):uint() > 4 then bad(sub, tvb(8, 1), "pins are 1 to 4") end
        if tvb(9, 1):uint() > 1 then bad(sub, tvb(9, 1), "asserted is 0 or 1") end
    elseif class == "msi" then
        sub:add_le(f.vector, tvb(8, 2))
        zero(sub, tvb(10, 2))
        if tvb(8, 2):le_uint() > 2047 then bad(sub, tvb(8, 2), "vectors go to 2047") end
    elseif class == "error" then
        sub:add(f.severity, tvb(8, 1))
        zero(sub, tvb(9, 3))
        if tvb(8, 1):uint() > 2 then bad(sub, tvb(8, 1), "unknown severity") end
    elseif class == "map" then
        text = text .. dissect_map(tvb, sub)
    elseif class == "unmap" then
        text = text .. string.format(" %s, %d", page_address(tvb, sub), tvb(16, 4):le_uint())
        sub:add_le(f.pages, tvb(16, 4))
        sub:add_le(f.seen, tvb(20, 4))
        if tvb(16, 4):le_uint() == 0 then bad(sub, tvb(16, 4), "no pages") end
    elseif class == "mirror" then
        text = text .. dissect_mirror(tvb, sub)
    elseif class == "spoiled" then
        text = text .. " " .. tvb(8, 4):le_uint()
        sub:add_le(f.slot, tvb(8, 4))
        sub:add_le(f.dma_generation, tvb(12, 4))
    elseif class == "fault" then
        text = text .. " " .. page_address(tvb, sub, true)
        sub:add(f.dma_write, tvb(16, 1))
        sub:add(f.fault_reason, tvb(17, 1))
        zero(sub, tvb(18, 6))
        if tvb(16, 1):uint() > 1 then bad(sub, tvb(16, 1), "it wrote or it did not") end
    elseif class == "credit" then
        sub:add_le(f.credit, tvb(8, 2))
        zero(sub, tvb(10, 2))
        if tvb(8, 2):le_uint() == 0 then bad(sub, tvb(8, 2), "nothing is returned") end
    end
    sub:append_text(string.format(", tag %04x, function %d", tag, handle))
    return text
end

local function dissect_data(tvb, tree, pinfo, link, again)
    local at, index, texts = 0, 0, {}
    if tvb:len() < RECORD then
        bad(tree, tvb(0), "no record in it")
    end
    while at < tvb:len() do
        local left = tvb:len() - at
        local length = left >= RECORD and tvb(at + 2, 2):le_uint() or 0
        if length < RECORD or length > left then
            bad(tree, tvb(at), "a record that does not fit the frame")
            break
        end
        texts[#texts + 1] = dissect_record(tvb(at, length):tvb(), tree, pinfo, link, index, again)
        at, index = at + length, index + 1
    end
    local more = #texts > 4 and string.format(" and %d more", #texts - 4) or ""
    pinfo.cols.info:append(" " .. table.concat(texts, ", ", 1, math.min(#texts, 4)) .. more)
end

-- Bytes behind the header of a sealed frame: least, and most (0: no such limit).
local sealed_sizes = { { ANNOUNCE_HEAD + 24, 0 }, { 192, 192 }, { 176, 176 }, { RECORD + 24, 0 }, { 24, 24 }, { 88, 88 } }

-- Behind the header of a sealed frame; returns the body of an announcement, nil for everything else.
local function dissect_sealed(tvb, tree, pinfo, kind)
    local size, limits = tvb:len(), sealed_sizes[kind]
    if size < limits[1] or limits[2] ~= 0 and size > limits[2] then
        bad(tree, tvb(0), "not the size of such a sealed frame")
        return nil
    end
    if kind == 1 then
        tree:add_le(f.counter, tvb(size - 24, 8))
        tree:add(f.mac, tvb(size - 16, 16))
        return tvb(0, size - 24):tvb()
    elseif kind <= 3 then
        tree:add(f.ephemeral, tvb(0, 32))
        tree:add(f.noise, tvb(32, size - 48))
        tree:add(f.mac, tvb(size - 16, 16))
        return nil
    end
    tree:add_le(f.counter, tvb(0, 8))
    if size > 24 then tree:add(f.ciphertext, tvb(8, size - 24)) end
    tree:add(f.tag, tvb(size - 16, 16))
    pinfo.cols.info:append(string.format(", counter %s, %d bytes", tostring(tvb(0, 8):le_uint64()), size - 24))
    return nil
end

function farbus.dissector(tvb, pinfo, tree)
    if tvb:len() < 4 or tvb(0, 4):le_uint() ~= MAGIC then
        return 0
    end
    pinfo.cols.protocol = "FARBUS"
    local root = tree:add(farbus, tvb())
    if tvb:len() < HEADER then
        bad(root, tvb(0), "shorter than a frame's header")
        return tvb:len()
    end
    local kind, length = tvb(5, 1):uint() % 0x80, tvb(6, 2):le_uint()
    local sealed = tvb(5, 1):uint() >= 0x80
    local epoch, sequence = string.format("%08x", tvb(8, 4):le_uint()), tvb(12, 4):le_uint()
    local title = (frame_types[kind] or "type " .. kind) .. (sealed and ", sealed" or "")
    root:append_text(", " .. title)
    pinfo.cols.info = title
    root:add_le(f.magic, tvb(0, 4))
    root:add(f.version, tvb(4, 1))
    root:add(f.type, tvb(5, 1))
    root:add(f.sealed, tvb(5, 1))
    root:add_le(f.length, tvb(6, 2))
    root:add_le(f.epoch, tvb(8, 4))
    root:add_le(f.sequence, tvb(12, 4))
    root:add_le(f.ack, tvb(16, 4))
    local sack = root:add_le(f.sack, tvb(20, 4))
    if tvb(4, 1):uint() ~= 1 then
        bad(root, tvb(4, 1), "version 1 is the only one")
        return tvb:len()
    end
    local padded = pinfo.match_uint == ETHERTYPE and length < tvb:len() -- Ethernet pads short frames
    if length < HEADER or (length ~= tvb:len() and not padded) then
        bad(root, tvb(6, 2), "length is not that of the frame")
        return tvb:len()
    end
    if not frame_types[kind] then
        bad(root, tvb(5, 1), "unknown frame type")
        return tvb:len()
    end
    local session = kind == 4 or kind == 5
    if (kind == 1) ~= (epoch == "00000000") then bad(root, tvb(8, 4), "epoch is 0 in ANNOUNCE and nowhere else") end
    if kind ~= 4 and sequence ~= 0 then bad(root, tvb(12, 4), "only DATA has a sequence") end
    if not session and (tvb(16, 4):le_uint() ~= 0 or tvb(20, 4):le_uint() ~= 0) then bad(root, tvb(16, 8), "only DATA and ACK acknowledge") end
    if session and tvb(20, 4):le_uint() ~= 0 then sack:add_proto_expert_info(e.gap) end

    -- By l2 there are no network addresses: the ends are their Ethernet addresses.
    local from, to = pinfo.net_src, pinfo.net_dst
    if pinfo.match_uint == ETHERTYPE then from, to = pinfo.dl_src, pinfo.dl_dst end
    local link = { name = address(from, to), epoch = epoch }
    local source = tostring(from) .. "|" .. epoch
    if kind == 2 then hosts[source] = true end
    if kind == 3 then hosts[tostring(to) .. "|" .. epoch] = true end
    if hosts[source] then
        link.from_host = true
    elseif hosts[tostring(to) .. "|" .. epoch] then
        link.from_host = false
    end

    local body = length > HEADER and tvb(HEADER, length - HEADER):tvb() or nil
    if sealed and body then
        if kind == 4 then pinfo.cols.info:append(string.format(" #%d", sequence)) end
        body = dissect_sealed(body, root, pinfo, kind)
        if not body then return tvb:len() end
    end
    if kind == 5 then
        pinfo.cols.info:append(string.format(" %d", tvb(16, 4):le_uint()))
        if body then bad(root, tvb(HEADER), "an ACK has no body") end
    elseif not body then
        bad(root, tvb(6, 2), "the body is missing")
    elseif kind == 1 then
        dissect_announce(body, root, pinfo)
    elseif kind == 2 then
        dissect_hello(body, root, pinfo)
    elseif kind == 3 then
        dissect_hello_ack(body, root, pinfo)
    elseif kind == 6 then
        dissect_bye(body, root, pinfo)
    elseif kind == 7 then
        dissect_probe(body, root, pinfo)
    else
        local key = source .. "|" .. sequence
        if not sent[key] then sent[key] = pinfo.number end
        local again = sent[key] ~= pinfo.number
        pinfo.cols.info:append(string.format(" #%d", sequence))
        if again then
            root:add(f.first_sent, sent[key]):set_generated()
            root:add_proto_expert_info(e.retransmission)
            pinfo.cols.info:append(" again")
        end
        dissect_data(body, root, pinfo, link, again)
    end
    return tvb:len()
end

DissectorTable.get("udp.port"):add(PORT, farbus)

-- The l2 carrier: the sender's IPv4 address, then the frame.
local l2 = Proto("farbus_l2", "Farbus on Ethernet")
l2.fields.sender = ProtoField.ipv4("farbus_l2.sender", "Sender")
function l2.dissector(tvb, pinfo, tree)
    if tvb:len() < 8 or tvb(4, 4):le_uint() ~= MAGIC then
        return 0
    end
    tree:add(l2, tvb(0, 4)):add(l2.fields.sender, tvb(0, 4))
    return 4 + farbus.dissector(tvb(4):tvb(), pinfo, tree)
end
DissectorTable.get("ethertype"):add(ETHERTYPE, l2)
