// SPDX-License-Identifier: BSD-2-Clause
// Registers and descriptors that Intel's 8254x (SDM 317453-006, chapters 3 and 13), 82574 (datasheet 317694,
// chapters 7 and 10) and 82576 (datasheet 320961, chapters 7 and 8) Ethernet controllers share. Names are the
// manuals'; what only one of them has is marked. A queue's registers are at an offset from the queue's base.
#pragma once
#include <stdint.h>

#define INTEL_CTRL                     0x0000
#define INTEL_CTRL_GIO_MASTER_DISABLE  (1u << 2) // 82574
#define INTEL_CTRL_LRST                (1u << 3) // 8254x
#define INTEL_CTRL_ASDE                (1u << 5)
#define INTEL_CTRL_SLU                 (1u << 6)
#define INTEL_CTRL_ILOS                (1u << 7)
#define INTEL_CTRL_FRCSPD              (1u << 11)
#define INTEL_CTRL_FRCDPX              (1u << 12)
#define INTEL_CTRL_RST                 (1u << 26)
#define INTEL_CTRL_RFCE                (1u << 27)
#define INTEL_CTRL_TFCE                (1u << 28)
#define INTEL_CTRL_VME                 (1u << 30)
#define INTEL_CTRL_PHY_RST             (1u << 31)
#define INTEL_STATUS                   0x0008
#define INTEL_STATUS_FD                (1u << 0)
#define INTEL_STATUS_LU                (1u << 1)
#define INTEL_STATUS_SPEED_SHIFT       6
#define INTEL_STATUS_GIO_MASTER_ENABLE (1u << 19) // 82574
#define INTEL_EECD                     0x0010
#define INTEL_EECD_AUTO_RD             (1u << 9) // 82574
#define INTEL_EERD                     0x0014
#define INTEL_EERD_START               (1u << 0)
#define INTEL_EERD_DATA_SHIFT          16
#define INTEL_CTRL_EXT                 0x0018
#define INTEL_CTRL_EXT_DRV_LOAD        (1u << 28)
#define INTEL_MDIC                     0x0020
#define INTEL_MDIC_REG_SHIFT           16
#define INTEL_MDIC_PHY_1               (1u << 21)
#define INTEL_MDIC_OP_WRITE            (1u << 26)
#define INTEL_MDIC_OP_READ             (2u << 26)
#define INTEL_MDIC_READY               (1u << 28)
#define INTEL_MDIC_ERROR               (1u << 30)
#define INTEL_ICR                      0x00c0 // reading clears it
#define INTEL_ITR                      0x00c4
#define INTEL_ICS                      0x00c8
#define INTEL_IMS                      0x00d0
#define INTEL_IMC                      0x00d8
#define IGB_EITR0                      0x1680
#define INTEL_INT_LSC                  (1u << 2)
#define INTEL_INT_RXO                  (1u << 6)
#define INTEL_INT_RXT0                 (1u << 7)
#define INTEL_RCTL                     0x0100
#define INTEL_RCTL_EN                  (1u << 1)
#define INTEL_RCTL_UPE                 (1u << 3) // unicast promiscuous
#define INTEL_RCTL_MPE                 (1u << 4) // multicast promiscuous
#define INTEL_RCTL_LPE                 (1u << 5)
#define INTEL_RCTL_BAM                 (1u << 15)
#define INTEL_RCTL_BSIZE_2048          (0u << 16)
#define INTEL_RCTL_SECRC               (1u << 26)
#define INTEL_TCTL                     0x0400
#define INTEL_TCTL_EN                  (1u << 1)
#define INTEL_TCTL_PSP                 (1u << 3)
#define INTEL_TCTL_CT_SHIFT            4
#define INTEL_TCTL_COLD_SHIFT          12
#define INTEL_TIPG                     0x0410
#define INTEL_RX_BASE                  0x2800 // receive queue 0
#define IGB_RX_BASE                    0xc000
#define INTEL_TX_BASE                  0x3800 // transmit queue 0
#define IGB_TX_BASE                    0xe000
#define INTEL_RDTR                     0x2820
#define INTEL_RADV                     0x282c
#define INTEL_TIDV                     0x3820
#define INTEL_TARC0                    0x3840 // 82574
#define INTEL_CRCERRS                  0x4000 // statistics: reading clears them
#define INTEL_MPC                      0x4010
#define INTEL_RXCSUM                   0x5000
#define IGB_RLPML                      0x5004 // largest frame, FCS included, when RCTL.LPE is set
#define INTEL_MTA                      0x5200 // 128 registers
#define INTEL_RAL0                     0x5400 // 16 pairs (82540), RAH behind each
#define INTEL_RAH0                     0x5404
#define INTEL_RAH_AV                   (1u << 31)
#define INTEL_GCR                      0x5b00 // 82574
#define INTEL_GCR2                     0x5b64 // 82574

// registers of a queue, of both kinds where not marked
#define INTEL_DBAL              0x00
#define INTEL_DBAH              0x04
#define INTEL_DLEN              0x08
#define IGB_SRRCTL              0x0c // receive, 82576
#define IGB_SRRCTL_KIB_2        2u   // size of a buffer
#define IGB_SRRCTL_ADVANCED     (1u << 25)
#define INTEL_DH                0x10
#define INTEL_DT                0x18
#define INTEL_DCTL              0x28           // RXDCTL, TXDCTL
#define INTEL_TXDCTL_COUNT_DESC (1u << 22)     // 82574: must be 1
#define IGB_DCTL_ENABLE         (1u << 25)     // 82576
#define IGB_DCTL_WTHRESH_SHIFT  16             // so many are written back together
#define IGB_DCTL_PREFETCH       (8u | 1u << 8) // PTHRESH, HTHRESH

// PHY registers (IEEE 802.3, 22.2.4)
#define PHY_BMCR           0u
#define PHY_BMCR_ANRESTART 0x0200u
#define PHY_BMCR_ISOLATE   0x0400u
#define PHY_BMCR_PDOWN     0x0800u
#define PHY_BMCR_ANENABLE  0x1000u
#define PHY_BMSR           1u
#define PHY_BMSR_ANDONE    0x0020u

/// Legacy receive descriptor (8254x 3.2.3, 82574 7.1.4). The device writes `result`: length 15:0, checksum
/// 31:16, status 39:32, errors 47:40, special 63:48.
struct intel_rx_desc {
    uint64_t address;
    uint64_t result;
};
_Static_assert(sizeof(struct intel_rx_desc) == 16, "Intel's layout");

#define INTEL_RXD_LENGTH(result) ((uint32_t)(result)&0xffffu)
#define INTEL_RXD_DD             (0x01ull << 32)
#define INTEL_RXD_EOP            (0x02ull << 32)
#define INTEL_RXD_CE             (0x01ull << 40) // CRC or alignment
#define INTEL_RXD_SE             (0x02ull << 40) // symbol
#define INTEL_RXD_SEQ            (0x04ull << 40)
#define INTEL_RXD_CXE            (0x10ull << 40) // carrier extension
#define INTEL_RXD_RXE            (0x80ull << 40) // RX data
/// Errors that spoil the frame. The checksum errors (IPE, TCPE) are for whoever reads that protocol.
#define INTEL_RXD_ERRORS (INTEL_RXD_CE | INTEL_RXD_SE | INTEL_RXD_SEQ | INTEL_RXD_CXE | INTEL_RXD_RXE)

/// Legacy transmit descriptor (8254x 3.3.3, 82574 7.2.10.1). `control` is length 15:0, CMD 31:24, STA 35:32.
struct intel_tx_desc {
    uint64_t address;
    uint64_t control;
};
_Static_assert(sizeof(struct intel_tx_desc) == 16, "Intel's layout");

/// Advanced receive descriptor as the device writes it back (82576 7.1.5.2), second half: extended status
/// 19:0, extended errors 31:20, length 47:32, VLAN 63:48.
#define IGB_RXD_DD             (1ull << 0)
#define IGB_RXD_EOP            (1ull << 1)
#define IGB_RXD_ERRORS         (1ull << 31) // RXE: whatever the MAC found
#define IGB_RXD_LENGTH(result) ((uint32_t)((result) >> 32) & 0xffffu)

/// Advanced transmit data descriptor (82576 7.2.2.3): DTYP 23:20, DEXT 29 and PAYLEN 63:46 on top of what the
/// legacy one has in the same places.
#define IGB_TXD_DATA          (3ull << 20 | 1ull << 29)
#define IGB_TXD_PAYLEN(bytes) ((uint64_t)(bytes) << 46)

#define INTEL_TXD_EOP  (0x01ull << 24)
#define INTEL_TXD_IFCS (0x02ull << 24)
#define INTEL_TXD_RS   (0x08ull << 24)
#define INTEL_TXD_DD   (1ull << 32)
