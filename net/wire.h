// SPDX-License-Identifier: BSD-2-Clause
// The bytes on the wire: frames of a link and the records in them. docs/protocol.md is the specification of
// what stands here. Little-endian, packed, no implicit padding. A frame is what a carrier moves (one UDP
// datagram, or what follows EtherType on l2). Record semantics are those of PCIe transaction-layer packets
// (PCIe Base 4.0, 2.2).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structures below are used in place");

#define WIRE_VERSION   1u
#define WIRE_UDP_PORT  51966u      // 0xCAFE: bus extension and announcements, both directions
#define WIRE_ETHERTYPE 0x88B5u     // l2 carrier (IEEE local experimental)
#define WIRE_MAGIC     0x53424146u // "FABS"

enum wire_frame_type {
    WIRE_ANNOUNCE = 1, // remote -> all or one host: who I am and what I lend (net/discovery.h)
    WIRE_HELLO,        // host -> remote: open a link
    WIRE_HELLO_ACK,    // remote -> host: link open (or refused, with a reason)
    WIRE_DATA,         // records; carries acknowledgement as well
    WIRE_ACK,          // acknowledgement alone
    WIRE_BYE,          // link closed, with a reason
    WIRE_PROBE,        // does a frame of this size pass? (larger than every LAN passes)
};

// With keys every frame is sealed: WIRE_SEALED is set in its type, and behind the header stands
//   DATA, ACK, BYE, PROBE: counter (8), body encrypted, tag (16)
//   HELLO, HELLO_ACK: a Noise message with the body as its payload, MAC (16)
//   ANNOUNCE:         body, counter (8), MAC (16)
#define WIRE_SEALED        0x80u
#define WIRE_SEAL_BYTES    24u // what sealing adds to DATA, ACK, BYE, PROBE and ANNOUNCE
#define WIRE_MAC_BYTES     16u
#define WIRE_NOISE_1_BYTES 96u // what a Noise message adds to its payload
#define WIRE_NOISE_2_BYTES 48u

/// First bytes of every frame.
struct wire_frame {
    uint32_t magic;
    uint8_t version;
    uint8_t type;      // enum wire_frame_type
    uint16_t length;   // of the whole frame, this header included, bytes
    uint32_t epoch;    // session: chosen by the host at random for each HELLO, never 0 once open
    uint32_t sequence; // of this DATA frame (first of an epoch: 1); others: 0
    uint32_t ack;      // every DATA frame up to and including this was received
    uint32_t sack;     // bit i: frame ack + 2 + i was received too
} __attribute__((packed));
_Static_assert(sizeof(struct wire_frame) == 24, "wire format");

#define WIRE_FRAME_MIN                                                                                       \
    548u // every carrier moves at least this: 576 bytes (RFC 791) less IPv4 and UDP headers
#define WIRE_FRAME_MAX 8972u // jumbo: 9000 less IPv4 and UDP headers
#define WIRE_WINDOW    32u   // DATA frames that may be on their way: what `sack` can describe
#define WIRE_NAME_MAX  32u   // node names, the terminating NUL included; the rest is NUL, too

/// Body of HELLO. Header: epoch = the session proposed.
struct wire_hello {
    uint32_t boot_id; // of the host: random per start
    uint32_t attempt; // counts up with every epoch of that start: an old HELLO that comes late is recognized
    uint8_t version_min, version_max;
    uint16_t frame_max;       // largest frame the host takes
    uint32_t capabilities;    // WIRE_CAP_* offered
    char node[WIRE_NAME_MAX]; // the host's name
    char to[WIRE_NAME_MAX];   // the remote's name, as the host believes
} __attribute__((packed));
_Static_assert(sizeof(struct wire_hello) == 80, "wire format");

enum wire_hello_status {
    HELLO_OK,
    HELLO_REFUSED,    // this host is not wanted; `why` says more
    HELLO_FULL,       // no link left at the remote
    HELLO_WRONG_NODE, // `to` is somebody else
    HELLO_VERSION,    // no common version
    HELLO_STATUS_COUNT
};

/// Body of HELLO_ACK. Header: the epoch of the HELLO answered.
struct wire_hello_ack {
    uint32_t boot_id;      // of the remote
    uint8_t status;        // enum wire_hello_status
    uint8_t version;       // chosen
    uint16_t frame_max;    // agreed: the smaller of both
    uint32_t capabilities; // agreed: what both have
    uint32_t reserved;
    char node[WIRE_NAME_MAX];
    char why[64]; // refusals: a sentence, NUL-padded; else empty
} __attribute__((packed));
_Static_assert(sizeof(struct wire_hello_ack) == 112, "wire format");

enum wire_bye_reason {
    BYE_CLOSED,        // the sender has no more use for the link
    BYE_UNKNOWN_EPOCH, // a frame came for a session that the sender does not have (it restarted, or gave up)
    BYE_REPLACED,      // the host opened a newer session
    BYE_TIMEOUT,       // the grace period of the sender ran out
    BYE_REFUSED,       // remote, sealed links: this host is not wanted; `why` says more
    BYE_REASON_COUNT
};

/// Body of BYE. Header: the epoch that is over.
struct wire_bye {
    uint8_t reason; // enum wire_bye_reason
    uint8_t reserved[3];
    char why[60]; // a sentence, NUL-padded
} __attribute__((packed));
_Static_assert(sizeof(struct wire_bye) == 64, "wire format");

enum wire_probe_kind {
    PROBE_ASK = 1, // host -> remote, as large as agreed
    PROBE_ANSWER,  // remote -> host, as large
    PROBE_DONE,    // host -> remote: the answer came; no larger than this body
};

/// Body of PROBE; bytes of 0 follow that make the frame as large as the frames it is about.
struct wire_probe {
    uint8_t kind; // enum wire_probe_kind
    uint8_t reserved[7];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_probe) == 8, "wire format");

#define WIRE_CAP_AESGCM 0x1u // with keys: seals are AES-GCM's instead of ChaCha20-Poly1305's
#define WIRE_CAP_PROBE  0x2u // larger frames than 1472 bytes are used when a PROBE of that size passed

/// First part of the body of ANNOUNCE; `count` struct wire_function follow. Header: epoch and everything
/// after it 0.
struct wire_announce {
    char node[WIRE_NAME_MAX];
    uint32_t boot_id;
    uint32_t generation;   // changes whenever the list changes: parts of different lists are never mixed
    uint16_t total;        // functions in the whole list
    uint8_t part, parts;   // this frame is number `part` (from 0) of `parts`
    uint16_t first, count; // functions in this frame: total list [first, first + count)
    uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_announce) == 52, "wire format");

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
    REC_DETACH,        // no body
    REC_RESET,         // function level reset; no body
    REC_INTERRUPTS,    // which interrupts of the function are wanted: struct wire_interrupts
    // events (remote -> host, posted)
    REC_INTX = 0x30, // struct wire_intx
    REC_MSI,         // struct wire_msi
    REC_GONE,        // function went away; no body
    REC_ERROR,       // struct wire_error
    REC_CREDIT,      // flow control, struct wire_credit; between the users of the link
    REC_EOI,         // host -> remote, posted: the guest has served INTx, look again; no body
    // DMA mirror (docs/protocol.md, section 6.6)
    REC_DMA_START = 0x40, // host -> remote: the function may master the bus, within what is mapped; CPLD
                          // carries struct wire_dma_started. No body. Also: begin anew, with nothing mapped
    REC_DMA_MAP,          // host -> remote, posted: struct wire_dma_map
    REC_DMA_UNMAP,        // host -> remote, posted: struct wire_dma_unmap
    REC_DMA_DATA,         // both, posted: struct wire_dma_data, then runs
    REC_DMA_SPOILED,      // remote -> host, posted: struct wire_dma_spoiled
    REC_DMA_FAULT,        // remote -> host, posted: struct wire_dma_fault
};

/// A host's record of this type is answered by a completion, at once as a rule.
static inline bool wire_asks(uint8_t type)
{
    return type < REC_MWR || (type >= REC_ATTACH && type < REC_INTX) || type == REC_DMA_START;
}

/// Completion status (PCIe 2.2.9), plus ours from 0x10.
enum wire_status {
    CPL_SC = 0,       // successful completion
    CPL_UR = 1,       // unsupported request
    CPL_CRS = 2,      // configuration request retry
    CPL_CA = 4,       // completer abort
    CPL_OWNED = 0x10, // ATTACH: lent to somebody else; a CPLD, data: owner's node name, 1..31 bytes, no NUL
    CPL_NOT_LENT = 0x11, // ATTACH: this remote does not lend it
    CPL_DENIED = 0x12,   // ATTACH: it is lent, but not to this host
};

/// In front of every record. Records follow one another without gaps; a record never spans frames.
struct wire_record {
    uint8_t type;      // enum wire_record_type
    uint8_t status;    // completions: enum wire_status; else 0
    uint16_t length;   // of the whole record, this header included, bytes
    uint16_t function; // handle given by ATTACH, 1..WIRE_HANDLE_MAX; ATTACH itself: 0
    uint16_t tag;      // requests: chosen by the host, unique among its outstanding ones on this link;
                       // completions: of the request
} __attribute__((packed));
_Static_assert(sizeof(struct wire_record) == 8, "wire format");

#define WIRE_ACCESS_MAX 256u // bytes of one access
#define WIRE_HANDLE_MAX 255u // handles are small so that both ends can index by them

/// Body of CFG_RD/WR, IO_RD/WR, MRD/MWR; data of writes follows. Contiguous byte enables: `size` bytes from
/// `offset`. The executor performs naturally aligned accesses of the largest width that fits (8 for memory, 4
/// for configuration and I/O), in address order, and nothing else.
struct wire_access {
    uint8_t bar; // 0..5; configuration: 0
    uint8_t reserved;
    uint16_t size; // 1..WIRE_ACCESS_MAX; configuration and I/O: 1, 2, 4
    uint32_t offset_high;
    uint32_t offset; // in the BAR, or in configuration space
} __attribute__((packed));
_Static_assert(sizeof(struct wire_access) == 12, "wire format");

struct wire_pci_address {
    uint16_t segment;
    uint8_t bus;
    uint8_t devfn;
} __attribute__((packed));

/// What is said of a lent function, in announcements and by ATTACH. Sizes only: no address of the remote's
/// machine.
struct wire_bar {
    uint64_t size; // 0: absent (or upper half of the 64-bit BAR before it)
    uint8_t kind;  // 0 none, 1 I/O, 2 32-bit memory, 3 64-bit memory; bit 7: prefetchable
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
#define WIRE_FN_MSI  0x04u // MSI and MSI-X, where it has them, can be enabled
#define WIRE_FN_DMA  0x08u // its remote can confine its DMA: it may master the bus

/// Body of REC_ATTACH: the function wanted. The host's name is in HELLO.
struct wire_attach {
    struct wire_pci_address at;
} __attribute__((packed));

/// Data of the CPLD that answers ATTACH.
struct wire_attached {
    uint16_t handle;  // goes into wire_record.function from now on
    uint16_t credits; // posted requests not yet returned by REC_CREDIT that may be on their way to it
    struct wire_function info;
} __attribute__((packed));

#define WIRE_MSI_MAX  32u   // PCI 3.0, 6.8.1.3
#define WIRE_MSIX_MAX 2048u // PCI 3.0, 6.8.2.3

enum wire_interrupt_mode { INTERRUPTS_OFF, INTERRUPTS_INTX, INTERRUPTS_MSI, INTERRUPTS_MSIX };

/// Body of REC_INTERRUPTS. Behind it (count + 7) / 8 bytes: bit i says that message i is wanted; bits from
/// `count` on are 0. It replaces what was wanted before, and begins anew: an INTx that is asserted is told
/// again.
struct wire_interrupts {
    uint8_t mode; // enum wire_interrupt_mode
    uint8_t reserved;
    uint16_t count; // MSI: 1..WIRE_MSI_MAX, MSI-X: 1..WIRE_MSIX_MAX, else 0
} __attribute__((packed));
_Static_assert(sizeof(struct wire_interrupts) == 4, "wire format");

/// REC_INTX.
struct wire_intx {
    uint8_t pin;      // 1..4: INTA..INTD
    uint8_t asserted; // 1: Assert_INTx, 0: Deassert_INTx
    uint16_t reserved;
} __attribute__((packed));

/// REC_MSI: interrupt `vector` of the function (MSI-X table index, or MSI message number).
struct wire_msi {
    uint16_t vector;
    uint16_t reserved;
} __attribute__((packed));

/// REC_ERROR (PCIe 2.2.8.3, error messages).
struct wire_error {
    uint8_t severity; // 0 correctable, 1 non-fatal, 2 fatal
    uint8_t reserved[3];
} __attribute__((packed));

/// Body of REC_CREDIT: posted requests of this function that were executed or dropped since the last
/// REC_CREDIT.
struct wire_credit {
    uint16_t count;
    uint16_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_credit) == 4, "wire format");

// --- DMA mirror ---
// A slot is a page of the remote's memory that mirrors one page of the guest's. The host gives slots their
// content and decides where the function sees them; both ends keep a copy (the twin) of what the other end
// is known to have, and tell each other the bytes that differ from it.

#define WIRE_DMA_PAGE      4096u
#define WIRE_DMA_SLOTS_MAX 65536u // of one function
#define WIRE_DMA_IOVA_END                                                                                    \
    (1ull << 39) // addresses the function may use; 0xfee00000..0xfeefffff are never memory
#define WIRE_DMA_MSI_BEGIN 0xfee00000ull // never memory (SDM vol. 3, 11.11.1)
#define WIRE_DMA_MSI_END   0xfef00000ull

/// Data of the CPLD that answers DMA_START.
struct wire_dma_started {
    uint32_t slots; // the host may use slots 0..slots - 1; content: not known until DMA_DATA with CLEAR
    uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_started) == 8, "wire format");

#define WIRE_DMA_READ  0x1u // the function may read
#define WIRE_DMA_WRITE 0x2u // the function may write

/// REC_DMA_MAP: the function sees `slot` at `iova`. A slot is mapped at one place at most, an iova names one
/// slot at most.
struct wire_dma_map {
    uint64_t iova; // multiple of WIRE_DMA_PAGE
    uint32_t slot;
    uint32_t generation; // of this mapping: chosen by the host; what the function writes comes back with it
    uint8_t access;      // WIRE_DMA_READ | WIRE_DMA_WRITE, not 0
    uint8_t reserved[7];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_map) == 24, "wire format");

/// REC_DMA_UNMAP: the function sees nothing at these pages any more. Bytes that it wrote and that the host
/// has not had by `seen` are undone: the slot is again as the host knows it; where that cannot be (they are
/// on their way), the slot is spoiled, and the remote says so.
struct wire_dma_unmap {
    uint64_t iova;  // first page
    uint32_t pages; // 1.., all of them, mapped or not
    uint32_t seen;  // DMA_DATA records of this function taken since DMA_START, modulo 2^32
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_unmap) == 16, "wire format");

#define WIRE_DMA_CLEAR 0x1u // to the remote, slot not mapped: all bytes are 0 first; not spoiled any more
#define WIRE_DMA_MORE                                                                                        \
    0x2u // to the host: the round goes on in the next DMA_DATA of this function. What goes into pages that
         // the function may also read is not shown to the guest until a record without it has come

/// REC_DMA_DATA: bytes of a slot that changed. Runs follow: struct wire_dma_run, then its bytes, then the
/// next. To the host: the function wrote them. To the remote: the guest did (mapped or not). No runs: to the
/// remote only with CLEAR; to the host only without MORE (the end of a round whose rest is void).
struct wire_dma_data {
    uint32_t slot;
    uint32_t generation; // to the host: of the mapping; to the remote: 0
    uint8_t flags;       // WIRE_DMA_CLEAR, WIRE_DMA_MORE
    uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_data) == 12, "wire format");

struct wire_dma_run {
    uint16_t offset, size; // size not 0, offset + size <= WIRE_DMA_PAGE; ascending, not touching
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_run) == 4, "wire format");

/// REC_DMA_SPOILED: nobody knows what is in this slot; until DMA_DATA with CLEAR it is not mapped.
struct wire_dma_spoiled {
    uint32_t slot;
    uint32_t generation; // of the mapping whose end spoiled it: a host that cleared the slot since knows that
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_spoiled) == 8, "wire format");

/// REC_DMA_FAULT: the remote's IOMMU stopped an access of the function.
struct wire_dma_fault {
    uint64_t iova;  // page
    uint8_t write;  // 1: it wanted to write
    uint8_t reason; // VT-d 7.1.3 of the remote's unit; for the log only
    uint8_t reserved[6];
} __attribute__((packed));
_Static_assert(sizeof(struct wire_dma_fault) == 16, "wire format");

/// Why bytes are not what they claim to be. Each is counted where frames are received.
enum wire_fault {
    WIRE_FINE = 0,
    WIRE_BAD_SIZE, // shorter than a header, or `length` is not the size received
    WIRE_BAD_MAGIC,
    WIRE_BAD_VERSION,
    WIRE_BAD_TYPE,   // of the frame
    WIRE_BAD_HEADER, // epoch, sequence or acknowledgement impossible for the type
    WIRE_BAD_BODY,   // HELLO, HELLO_ACK, BYE, ANNOUNCE: length or field
    WIRE_BAD_RECORD, // record: type unknown, or not for this direction
    WIRE_BAD_LENGTH, // record: length cannot be, or runs over the frame
    WIRE_BAD_FIELD,  // record: reserved bits, status, function, bar, size, offset
    WIRE_UNSEALED,   // a plain frame, but this node has keys; or a sealed one, and it has none
    WIRE_FAULTS
};
/// Short name for counters ("record type"); never NULL.
const char *wire_fault_name(enum wire_fault fault);

enum wire_direction { WIRE_TO_REMOTE = 1, WIRE_TO_HOST = 2 };

/// Header and, for frames that are not DATA, the body. `size` is what the carrier delivered, padding removed.
enum wire_fault wire_check_frame(const void *bytes, size_t size);
/// The same for a sealed frame, as far as it can be seen from outside: header and size.
enum wire_fault wire_check_sealed(const void *bytes, size_t size);
/// One record whose `length` lies within what is readable.
enum wire_fault wire_check_record(const struct wire_record *rec, enum wire_direction direction);
/// Everything behind the header of a DATA frame (at least one record).
enum wire_fault wire_check_records(const void *bytes, size_t size, enum wire_direction direction);

/// Announced or attached: reserved fields 0, BAR kinds and sizes possible.
bool wire_function_valid(const struct wire_function *f);

/// Walks records that wire_check_records found fine.
struct wire_iter {
    const uint8_t *at, *end;
};
static inline struct wire_iter wire_records(const void *frame, size_t size)
{
    const uint8_t *p = frame;
    return (struct wire_iter){p + sizeof(struct wire_frame), p + size};
}
static inline const struct wire_record *wire_next(struct wire_iter *it)
{
    if (it->at >= it->end)
        return NULL;
    const struct wire_record *rec = (const struct wire_record *)it->at;
    it->at += rec->length;
    return rec;
}

/// A node name: 1..31 printable characters without blank and '/', NUL-padded to WIRE_NAME_MAX.
bool wire_name_valid(const char name[WIRE_NAME_MAX]);
/// Copies what fits and pads with NUL.
void wire_text_set(char *to, size_t size, const char *text);
/// NUL-padded printable text, the last byte NUL.
bool wire_text_valid(const char *text, size_t size);
