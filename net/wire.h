// SPDX-License-Identifier: BSD-2-Clause
// The bytes on the wire: frames of a link and the records in them. docs/protocol.md is the specification of what stands here.
// Little-endian, packed, no implicit padding. A frame is what a carrier moves (one UDP datagram, or what follows EtherType on l2).
// Record semantics are those of PCIe transaction-layer packets (PCIe Base 4.0, 2.2).
#pragma once
#include <stdint.h>

#define WIRE_VERSION   1u
#define WIRE_UDP_PORT  51966u    // 0xCAFE: bus extension and announcements, both directions
#define WIRE_ETHERTYPE 0x88B5u   // l2 carrier (IEEE local experimental)
#define WIRE_MAGIC     0x53424146u // "FABS"

enum wire_frame_type {
    WIRE_ANNOUNCE = 1, // remote -> all or one host: who I am and what I lend (net/discovery.h)
    WIRE_HELLO,        // host -> remote: open a link
    WIRE_HELLO_ACK,    // remote -> host: link open (or refused, with a reason)
    WIRE_DATA,         // records; carries acknowledgement as well
    WIRE_ACK,          // acknowledgement alone
    WIRE_BYE,          // link closed, with a reason
};

/// First bytes of every frame.
struct wire_frame {
    uint32_t magic;
    uint8_t version;
    uint8_t type;    // enum wire_frame_type
    uint16_t length; // of the whole frame, this header included, bytes
    uint32_t epoch;  // session: chosen by the host at random for each HELLO, never 0 once open
    uint32_t sequence; // of this DATA frame (first of an epoch: 1); others: 0
    uint32_t ack;      // every DATA frame up to and including this was received
    uint32_t sack;     // bit i: frame ack + 2 + i was received too
} __attribute__((packed));
_Static_assert(sizeof(struct wire_frame) == 24, "wire format");

enum wire_record_type {
    // requests (host -> remote)
    REC_CFG_RD = 0x01,
    REC_CFG_WR,
    REC_IO_RD,
    REC_IO_WR,
    REC_MRD,
    REC_MWR, // posted: no completion
    // completions (remote -> host)
    REC_CPL = 0x10, // no data: of CFG_WR, IO_WR, ATTACH, DETACH, RESET, or any failure
    REC_CPLD,       // with data
    // function control (host -> remote, answered by CPL/CPLD)
    REC_ATTACH = 0x20, // claim a function; CPLD carries struct wire_attached
    REC_DETACH,
    REC_RESET,         // function level reset
    // events (remote -> host, posted)
    REC_INTX = 0x30,
    REC_MSI,
    REC_GONE,          // function went away
    REC_ERROR,
    REC_CREDIT,        // flow control (either way)
    // 0x40..0x5f: DMA mirror (next issue)
};

/// Completion status (PCIe 2.2.9), plus ours from 0x10.
enum wire_status {
    CPL_SC = 0,  // successful completion
    CPL_UR = 1,  // unsupported request
    CPL_CRS = 2, // configuration request retry
    CPL_CA = 4,  // completer abort
    CPL_OWNED = 0x10,   // ATTACH: lent to somebody else; data: owner's node name
    CPL_NOT_LENT = 0x11, // ATTACH: this remote does not lend it
};

/// In front of every record. Records follow one another without gaps; a record never spans frames.
struct wire_record {
    uint8_t type;      // enum wire_record_type
    uint8_t status;    // completions: enum wire_status; else 0
    uint16_t length;   // of the whole record, this header included, bytes
    uint16_t function; // handle given by ATTACH; ATTACH itself: 0
    uint16_t tag;      // requests: chosen by the host, unique among its outstanding ones on this link; completions: of the request
} __attribute__((packed));
_Static_assert(sizeof(struct wire_record) == 8, "wire format");

#define WIRE_ACCESS_MAX 256u // bytes of one access

/// Body of CFG_RD/WR, IO_RD/WR, MRD/MWR; data of writes follows. Contiguous byte enables: `size` bytes from `offset`.
/// The executor performs naturally aligned accesses of the largest width that fits (8 for memory, 4 for configuration and
/// I/O), in address order, and nothing else.
struct wire_access {
    uint8_t bar;      // 0..5; configuration: 0
    uint8_t reserved;
    uint16_t size;    // 1..WIRE_ACCESS_MAX; configuration and I/O: 1, 2, 4
    uint32_t offset_high;
    uint32_t offset;  // in the BAR, or in configuration space
} __attribute__((packed));
_Static_assert(sizeof(struct wire_access) == 12, "wire format");

struct wire_pci_address {
    uint16_t segment;
    uint8_t bus;
    uint8_t devfn;
} __attribute__((packed));

/// What is said of a lent function, in announcements and by ATTACH. Sizes only: no address of the remote's machine.
struct wire_bar {
    uint64_t size;  // 0: absent (or upper half of the 64-bit BAR before it)
    uint8_t kind;   // 0 none, 1 I/O, 2 32-bit memory, 3 64-bit memory; bit 7: prefetchable
    uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_bar) == 12, "wire format");

struct wire_function {
    struct wire_pci_address at;
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t class_code, subclass, prog_if, revision;
    uint8_t pin;   // INTx pin, 0: none
    uint8_t flags; // WIRE_FN_*
    uint16_t reserved;
    struct wire_bar bars[6];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_function) == 92, "wire format");

#define WIRE_FN_BUSY 0x01u // lent to a host now
#define WIRE_FN_FLR  0x02u // can be reset alone

/// Body of REC_ATTACH: the function wanted. The host's name is in HELLO.
struct wire_attach {
    struct wire_pci_address at;
} __attribute__((packed));

/// Data of the CPLD that answers ATTACH.
struct wire_attached {
    uint16_t handle;  // goes into wire_record.function from now on
    uint16_t credits; // posted requests that may be outstanding (unacknowledged by REC_CREDIT) for this function
    struct wire_function info;
} __attribute__((packed));

/// Body of REC_CREDIT: posted requests of this function that were executed or dropped since the last REC_CREDIT.
struct wire_credit {
    uint16_t count;
    uint16_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_credit) == 4, "wire format");
