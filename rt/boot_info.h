// SPDX-License-Identifier: BSD-2-Clause
// The contract between the UEFI loader (boot/) and the two ELFs: what is in RDI at the entry point. Plain
// data, physical addresses only. The ELF carries the version and role it expects in .note.farbus; the loader
// refuses another one.
//
// State at entry: long mode, interrupts off, boot services left; CR3 = loader's transitional tables: an
// identity map (writable and executable, in whole GiB, of the first 4 GiB, of everything in the memory map
// that is not MMIO, and of the framebuffer) and the ELF's segments at their virtual addresses with their own
// permissions; RSP = a 64 KiB loader stack, 16n + 8 with a zero on top, as after a call; RDI = physical (=
// identity) address of struct boot_info. CR0 = PG WP NE ET MP PE, CR4 = OSXMMEXCPT OSFXSR PAE (4-level
// paging), EFER.NXE set; GDT, IDT and TSS are what the firmware left, in memory that is usable now: load your
// own at once.
#pragma once
#include <stdint.h>

#define BOOT_INFO_MAGIC   0x4f464e4953554246ull // "FBUSINFO"
#define BOOT_INFO_VERSION 3u

enum boot_role { BOOT_ROLE_HOST = 1, BOOT_ROLE_REMOTE = 2 };

enum boot_mem_type {
    BOOT_MEM_USABLE = 1, // free for the ELF from the first instruction
    BOOT_MEM_LOADER,     // holds boot_info, the ELF file, transitional tables, loader stack, files: free when
                         // done with
    BOOT_MEM_IMAGE,      // the ELF's loaded segments
    BOOT_MEM_ACPI,       // ACPI tables: readable, keep
    BOOT_MEM_RESERVED,   // firmware's or a hole: never touch
    BOOT_MEM_MMIO,
};

struct boot_mem {
    uint64_t base, size; // bytes, page aligned
    uint32_t type;       // enum boot_mem_type
    uint32_t pad;
};

struct boot_framebuffer {
    uint64_t base, size; // 0: none
    uint32_t width, height, pitch_pixels;
    uint32_t format; // 0: 0x00RRGGBB little-endian (BGRX bytes), 1: RGBX bytes
};

#define BOOT_NAME_MAX    32
#define BOOT_PATH_MAX    128
#define BOOT_CMDLINE_MAX 2048
#define BOOT_GUESTS_MAX  8
#define BOOT_CPUS_MAX    8 // of one guest
#define BOOT_MODULES_MAX 8
#define BOOT_DEVICES_MAX 8
#define BOOT_NICS_MAX    4 // virtual ones, of one guest
#define BOOT_MEM_MAX     512
#define BOOT_KEY_BYTES   32
#define BOOT_PEERS_MAX   16
#define BOOT_LEND_TO_MAX 8 // hosts that one function is lent to, by name

/// A PCI address as written "dddd:bb:dd.f".
struct boot_pci_address {
    uint16_t segment;
    uint8_t bus;
    uint8_t devfn; // device << 3 | function
};

/// A remote function as written "node/dddd:bb:dd.f".
struct boot_device {
    char node[BOOT_NAME_MAX];
    struct boot_pci_address at;
    uint32_t ini_line;
};

/// A function to lend, and to whom, as written "dddd:bb:dd.f to host1 host2".
struct boot_lend {
    struct boot_pci_address at;
    uint32_t ini_line;
    uint32_t to_count; // 0: to every host that may speak with this node
    char to[BOOT_LEND_TO_MAX][BOOT_NAME_MAX];
};

struct boot_file {
    char path[BOOT_PATH_MAX]; // as written in farbus.ini; empty: no such file
    char args[256];           // module command line: what follows the path
    uint64_t base, size;      // where the loader put it (page aligned)
    uint32_t ini_line;
    uint32_t pad;
};

/// A virtual NIC of a guest.
struct boot_vnic {
    uint8_t mac[6];
    uint8_t has_mac; // 0: the host makes one
    uint8_t pad;
    uint32_t ini_line;
    uint32_t pad2;
    uint64_t rate; // bits a second that it may send; 0: no limit
};

/// `dma =`: how DMA of remote functions finds the guest's memory.
enum boot_dma {
    BOOT_DMA_IOMMU,  // the guest has an IOMMU and says what it maps (default)
    BOOT_DMA_MIRROR, // all of the guest's (small) memory is mirrored: kernels without an IOMMU driver
};
/// `bus =`: where remote functions are.
enum boot_bus {
    BOOT_BUS_PORTS, // each behind a PCIe root port with hot-plug (default)
    BOOT_BUS_FLAT,  // on bus 0: kernels that do not look behind bridges
};

/// `carrier =`: what links ride on.
enum boot_carrier {
    BOOT_CARRIER_AUTO, // l2 where the peer answers by it, else udp (default)
    BOOT_CARRIER_UDP,
    BOOT_CARRIER_L2,
};

struct boot_guest {
    char name[BOOT_NAME_MAX];
    uint64_t memory; // bytes
    uint32_t cpus;
    uint32_t wait_s; // seconds to wait for its devices before it starts without them
    struct boot_file kernel, initrd;
    struct boot_file modules[BOOT_MODULES_MAX];
    uint32_t module_count;
    uint32_t device_count;
    struct boot_device devices[BOOT_DEVICES_MAX];
    char cmdline[BOOT_CMDLINE_MAX];
    struct boot_vnic nics[BOOT_NICS_MAX];
    uint32_t nic_count;
    uint32_t ini_line;
    uint8_t dma;         // enum boot_dma
    uint8_t bus;         // enum boot_bus
    uint8_t test_device; // 1: there is one
    uint8_t pad[5];
};

/// `key`, `psk`, `security =`: who may speak with this node.
enum boot_security {
    BOOT_SECURITY_MISSING, // neither is given: a host without remote devices; no links
    BOOT_SECURITY_KEYS,    // struct boot_keys holds
    BOOT_SECURITY_NONE,    // said so: links are plain
};

/// All that is secret, in one place to be wiped once the network has it.
struct boot_keys {
    uint8_t key[BOOT_KEY_BYTES]; // X25519 private key of this node
    uint8_t psk[BOOT_KEY_BYTES]; // the network's
    uint32_t peer_count;
    struct boot_peer {
        char name[BOOT_NAME_MAX];
        uint8_t key[BOOT_KEY_BYTES]; // public key of that node
        uint32_t ini_line;
    } peers[BOOT_PEERS_MAX];
};

struct boot_node {
    char name[BOOT_NAME_MAX];
    uint32_t role;      // enum boot_role
    uint8_t dhcp;       // 1: ask; 0: static
    uint8_t prefix;     // static: network prefix length
    uint8_t security;   // enum boot_security
    uint8_t verbose;    // console = ... debug
    uint8_t address[4]; // static, network order
    uint8_t gateway[4];
    uint8_t peer[4];           // remote: announce to this host by unicast as well; 0.0.0.0: broadcast only
    uint8_t console_serial;    // 1: COM1 (default)
    uint8_t console_fb;        // 1: framebuffer when there is one (default)
    uint8_t carrier;           // enum boot_carrier
    uint16_t frame;            // largest frame of a link, bytes; 0: as large as NICs and LAN allow
    uint8_t unsafe_interrupts; // 1: lend what may master the bus without interrupt remapping
    uint32_t lend_count; // remote: functions to lend; 0: everything but the boot, NIC and console functions
    struct boot_lend lend[BOOT_DEVICES_MAX];
    struct boot_pci_address nic; // host and remote: use this NIC; valid when nic_set
    uint32_t nic_set;
};

struct boot_info {
    uint64_t magic;
    uint32_t version, size;          // size = sizeof(struct boot_info)
    uint64_t entry_tsc;              // RDTSC at the loader's first instruction
    uint64_t files_tsc;              // TSC ticks spent inside the firmware's file reads
    uint64_t exit_tsc;               // RDTSC just before the jump
    uint64_t rsdp;                   // ACPI 2.0 RSDP, 0: none
    uint64_t elf_base, elf_size;     // the whole ELF file in memory (for .symtab)
    uint64_t image_base, image_size; // physical range its segments were loaded to, contiguous
    uint64_t image_virt;             // virtual address of image_base
    uint64_t trampoline;             // one free page below 1 MiB for starting CPUs, 0: none found
    struct boot_framebuffer framebuffer;
    struct boot_node node;
    struct boot_keys keys;
    uint32_t guest_count;
    uint32_t mem_count;
    struct boot_guest guests[BOOT_GUESTS_MAX];
    struct boot_mem mem[BOOT_MEM_MAX]; // sorted, not overlapping
    struct boot_pci_address
        boot_device; // PCI function the loader was read through (disk controller, NIC, USB); valid when
    uint32_t boot_device_set; // this is set. A remote does not lend it unless told to.
};

/// Contents of ELF section .note.farbus (type 1, name "Farbus"): what the ELF expects.
struct boot_note {
    uint32_t version; // BOOT_INFO_VERSION
    uint32_t role;    // enum boot_role
    uint32_t info_size;
    uint32_t pad;
};
