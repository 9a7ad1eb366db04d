// SPDX-License-Identifier: BSD-2-Clause
// Registers, rings and bits of virtio (OASIS, Virtual I/O Device 1.2), as far as drivers/virtio_*.c use them.
// Names are the specification's. Everything is little-endian.
#pragma once
#include <stdint.h>

#define VIRTIO_VENDOR 0x1af4

// 2.1 device status
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER      2u
#define VIRTIO_STATUS_DRIVER_OK   4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED      128u

// 6 reserved feature bits
#define VIRTIO_F_VERSION_1       (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33) // reaches memory as the machine's IOMMU lets it
#define VIRTIO_F_ORDER_PLATFORM  (1ull << 36)

// 4.1.4 vendor-specific capabilities
#define VIRTIO_PCI_CAP_LEN           2
#define VIRTIO_PCI_CAP_CFG_TYPE      3
#define VIRTIO_PCI_CAP_BAR           4
#define VIRTIO_PCI_CAP_OFFSET        8
#define VIRTIO_PCI_CAP_LENGTH        12
#define VIRTIO_PCI_CAP_NOTIFY_FACTOR 16 // notify_off_multiplier
enum virtio_pci_cfg_type {
    VIRTIO_PCI_CAP_COMMON_CFG = 1,
    VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
    VIRTIO_PCI_CAP_ISR_CFG = 3,
    VIRTIO_PCI_CAP_DEVICE_CFG = 4,
};

// 4.1.4.3 common configuration
#define VIRTIO_DEVICE_FEATURE_SELECT 0x00
#define VIRTIO_DEVICE_FEATURE        0x04
#define VIRTIO_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_DRIVER_FEATURE        0x0c
#define VIRTIO_CONFIG_MSIX_VECTOR    0x10 // 16 bits
#define VIRTIO_NUM_QUEUES            0x12 // 16
#define VIRTIO_DEVICE_STATUS         0x14 // 8
#define VIRTIO_QUEUE_SELECT          0x16 // 16
#define VIRTIO_QUEUE_SIZE            0x18 // 16
#define VIRTIO_QUEUE_MSIX_VECTOR     0x1a // 16
#define VIRTIO_QUEUE_ENABLE          0x1c // 16
#define VIRTIO_QUEUE_NOTIFY_OFF      0x1e // 16
#define VIRTIO_QUEUE_DESC            0x20 // 64, as two halves (4.1.3.1)
#define VIRTIO_QUEUE_DRIVER          0x28 // 64
#define VIRTIO_QUEUE_DEVICE          0x30 // 64
#define VIRTIO_COMMON_BYTES          0x38
#define VIRTIO_MSI_NO_VECTOR         0xffffu

// 2.7 split virtqueues
#define VIRTQ_DESC_F_NEXT          1u
#define VIRTQ_DESC_F_WRITE         2u // the device writes it
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u
#define VIRTQ_USED_F_NO_NOTIFY     1u

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct virtq_desc) == 16, "2.7.5");

struct virtq_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};
_Static_assert(sizeof(struct virtq_avail) == 4, "2.7.6");

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};
struct virtq_used {
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[];
};
_Static_assert(sizeof(struct virtq_used_elem) == 8 && sizeof(struct virtq_used) == 4, "2.7.8");

// 5.1 network device
#define VIRTIO_NET_F_MTU     (1ull << 3)
#define VIRTIO_NET_F_MAC     (1ull << 5)
#define VIRTIO_NET_F_STATUS  (1ull << 16)
#define VIRTIO_NET_F_CTRL_VQ (1ull << 17)
#define VIRTIO_NET_F_CTRL_RX (1ull << 18)

// 5.1.2 virtqueues, without VIRTIO_NET_F_MQ
enum virtio_net_queue { VIRTIO_NET_RX = 0, VIRTIO_NET_TX = 1, VIRTIO_NET_CTRL = 2, VIRTIO_NET_QUEUES = 3 };

// 5.1.4 device configuration
#define VIRTIO_NET_CONFIG_MAC    0
#define VIRTIO_NET_CONFIG_STATUS 6  // 16 bits
#define VIRTIO_NET_CONFIG_MTU    10 // 16 bits
#define VIRTIO_NET_CONFIG_BYTES  12
#define VIRTIO_NET_S_LINK_UP     1u

/// 5.1.6: before every frame; num_buffers is there even without VIRTIO_NET_F_MRG_RXBUF when VERSION_1 is.
struct virtio_net_hdr {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct virtio_net_hdr) == 12, "5.1.6");

// 5.1.6.5 control virtqueue
#define VIRTIO_NET_CTRL_RX         0u
#define VIRTIO_NET_CTRL_RX_PROMISC 0u
#define VIRTIO_NET_OK              0u
