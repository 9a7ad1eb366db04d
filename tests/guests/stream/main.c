// SPDX-License-Identifier: BSD-2-Clause
// stream: bytes through the data register of a pci-serial. Reading it takes a byte away and writing it sends
// one, so a read or write that is executed twice, or lost, shows in the stream. Whoever holds the other end
// waits for "<stream>", sends `receive=` bytes of the pattern, and gets `send=` bytes of the pattern and
// "</stream>". `plain=1`: only single-byte instructions, no string I/O.
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"

#define RBR        0u
#define IER        1u
#define FCR        2u
#define LCR        3u
#define MCR        4u
#define LSR        5u
#define LSR_DR     0x01u
#define LSR_THRE   0x20u
#define FIFO_BYTES 16u
#define POLLS_MAX  1000000u // a peer that is silent for this long is not there

static uint16_t port;

static uint8_t pattern(uint32_t i)
{
    return (uint8_t)(i * 7u + (i >> 8) * 13u + 1u);
}

static bool wait_for(uint8_t bit)
{
    for (uint32_t i = 0; i < POLLS_MAX; i++)
        if ((in8((uint16_t)(port + LSR)) & bit) != 0)
            return true;
    return false;
}

static bool send(const void *data, uint32_t bytes, bool plain)
{
    const char *from = data;
    while (bytes > 0) {
        if (!wait_for(LSR_THRE))
            return false;
        uint32_t n = bytes < FIFO_BYTES ? bytes : FIFO_BYTES;
        bytes -= n;
        if (plain)
            for (; n > 0; n--)
                out8(port, (uint8_t)*from++);
        else
            __asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
    }
    return true;
}

static bool receive(uint32_t bytes)
{
    uint32_t crc = 0, wrong = 0, first_wrong = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        if (!wait_for(LSR_DR)) {
            print("stream: received %u of %u, then nothing more FAILED\n", i, bytes);
            return false;
        }
        uint8_t byte = in8(port);
        if (byte != pattern(i) && wrong++ == 0)
            first_wrong = i;
        crc = crc32(crc, &byte, 1);
    }
    print("stream: received %u crc 0x%08x ", bytes, crc);
    if (wrong > 0)
        print("%u wrong, first at %u FAILED\n", wrong, first_wrong);
    else
        print("ok\n");
    return wrong == 0;
}

int guest_main(void)
{
    uint32_t to_receive = option_number("receive", 256), to_send = option_number("send", 256);
    bool plain = option_number("plain", 0) != 0;
    pci_bdf at = pci_find_id(0x1b36, 0x0002);
    if (at == PCI_NONE) {
        print("stream: no pci-serial FAILED\n");
        return 1;
    }
    port = (uint16_t)bar_use(at, 0, true).base;
    out8((uint16_t)(port + LCR), 0x03); // 8N1
    out8((uint16_t)(port + IER), 0);
    out8((uint16_t)(port + MCR), 0x03);
    out8((uint16_t)(port + FCR), 0x07); // FIFOs on and empty: what firmware left goes
    if (!send("<stream>", 8, plain)) {
        print("stream: the transmitter does not become empty FAILED\n");
        return 1;
    }
    bool fine = receive(to_receive);
    static uint8_t out[65536];
    if (to_send > sizeof out)
        to_send = sizeof out;
    for (uint32_t i = 0; i < to_send; i++)
        out[i] = pattern(i);
    bool sent = send(out, to_send, plain) && send("</stream>", 9, plain);
    print("stream: sent %u crc 0x%08x %s\n", to_send, crc32(0, out, to_send), sent ? "ok" : "FAILED");
    return !(fine && sent);
}
