// SPDX-License-Identifier: BSD-2-Clause
// Source: National Semiconductor PC16550D data sheet, section 8 (registers).
// Invariant: bytes leave in the order they were written; nobody waits at 87 microseconds a byte unless there
// is no other way.
#include "drivers/uart.h"
#include "rt/log.h"
#include "rt/panic_internal.h"
#include "rt/spinlock.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stddef.h>

#define COM1 0x3f8u
#define RBR  (COM1 + 0) // read; DLAB = 0
#define THR  (COM1 + 0) // write; DLAB = 0
#define DLL  (COM1 + 0) // DLAB = 1
#define IER  (COM1 + 1)
#define DLM  (COM1 + 1) // DLAB = 1
#define IIR  (COM1 + 2) // read
#define FCR  (COM1 + 2) // write
#define LCR  (COM1 + 3)
#define MCR  (COM1 + 4)
#define LSR  (COM1 + 5)
#define MSR  (COM1 + 6)
#define SCR  (COM1 + 7)

#define IER_ERBFI 0x01u // received data available
#define IER_ETBEI 0x02u // transmitter holding register empty
#define IIR_NONE  0x01u
#define IIR_FIFO  0xc0u
#define FCR_ON    0x07u // enable, clear both FIFOs, receive trigger at 1 byte
#define LCR_8N1   0x03u
#define LCR_DLAB  0x80u
#define MCR_ON    0x0bu // DTR, RTS, OUT2 (interrupt pin driven)
#define LSR_DR    0x01u
#define LSR_THRE  0x20u
#define LSR_TEMT  0x40u
#define FIFO      16u

#define TX_BYTES       65536u // powers of two
#define RX_BYTES       256u
#define STUCK_NS       1000000000ull
#define INTERRUPTS_MAX 16u // causes served per interrupt, so that a broken UART cannot hold us

static uint8_t tx[TX_BYTES], rx[RX_BYTES];
static uint32_t tx_head, tx_tail, rx_head, rx_tail; // free-running; head: next to write
static struct spinlock lock;
static unsigned fifo = 1; // bytes an empty transmitter takes
static bool present;
static bool stuck; // the line took nothing for a second; until it does, what does not fit the queue is lost
static char last_written;

static bool enter(void)
{
    if (panic_active())
        return false;
    spin_lock(&lock);
    return true;
}

static void leave(bool entered)
{
    if (entered)
        spin_unlock(&lock);
}

/// Moves what fits into an empty FIFO. True when something moved.
static bool push_fifo(void)
{
    if (tx_head == tx_tail || !(in8(LSR) & LSR_THRE))
        return false;
    for (unsigned i = 0; i < fifo && tx_tail != tx_head; i++)
        out8(THR, tx[tx_tail++ % TX_BYTES]);
    stuck = false;
    return true;
}

/// Waits until at most `left` bytes are queued, or the line is stuck.
static void wait_queue(uint32_t left)
{
    uint64_t since = time_ns();
    while (tx_head - tx_tail > left) {
        if (push_fifo())
            since = time_ns();
        else if (stuck)
            return;
        else
            stuck = time_ns() - since > STUCK_NS;
    }
}

static void put(char c)
{
    if (tx_head - tx_tail == TX_BYTES)
        wait_queue(TX_BYTES - FIFO);
    if (tx_head - tx_tail < TX_BYTES)
        tx[tx_head++ % TX_BYTES] = (uint8_t)c;
}

static void take_received(void)
{
    for (unsigned i = 0; i < FIFO && (in8(LSR) & LSR_DR); i++) {
        uint8_t byte = in8(RBR);
        if (rx_head - rx_tail < RX_BYTES)
            rx[rx_head++ % RX_BYTES] = byte;
    }
}

static void sink_write(void *dev, const char *bytes, size_t n)
{
    (void)dev;
    bool entered = enter();
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n' && last_written != '\r')
            put('\r');
        last_written = bytes[i];
        put(bytes[i]);
    }
    (void)push_fifo();
    if (panic_active())
        wait_queue(0);
    leave(entered);
}

static int sink_read(void *dev)
{
    (void)dev;
    bool entered = enter();
    int byte = -1;
    (void)push_fifo();
    if (rx_head == rx_tail)
        take_received();
    if (rx_head != rx_tail)
        byte = rx[rx_tail++ % RX_BYTES];
    leave(entered);
    return byte;
}

void uart_interrupt(void *ctx, uint8_t vector)
{
    (void)ctx;
    (void)vector;
    bool entered = enter();
    // Reading IIR acknowledges "transmitter empty"; the line must go down once, or no further edge will come.
    for (unsigned i = 0; i < INTERRUPTS_MAX && !(in8(IIR) & IIR_NONE); i++) {
        take_received();
        (void)push_fifo();
        (void)in8(MSR);
    }
    leave(entered);
}

void uart_irq_enable(void)
{
    if (!present)
        return;
    bool entered = enter();
    out8(IER, IER_ERBFI | IER_ETBEI);
    leave(entered);
}

void uart_drain(void)
{
    if (!present)
        return;
    bool entered = enter();
    wait_queue(0);
    uint64_t since = time_ns();
    while (!(in8(LSR) & LSR_TEMT) && time_ns() - since < STUCK_NS)
        cpu_pause();
    leave(entered);
}

static void panic_console(void)
{
    (void)uart_start();
}
PANIC_CONSOLE(panic_console);

bool uart_start(void)
{
    static const struct console_sink sink = {.name = "serial", .write = sink_write, .read = sink_read};
    if (present)
        return true;
    // The scratch register holds what is written, and nothing else of an absent UART does.
    out8(SCR, 0xa5);
    if (in8(SCR) != 0xa5 || in8(LSR) == 0xff)
        return false;
    out8(SCR, 0x5a);
    if (in8(SCR) != 0x5a)
        return false;
    out8(IER, 0);
    out8(LCR, LCR_DLAB | LCR_8N1);
    out8(DLL, 1); // 115200
    out8(DLM, 0);
    out8(LCR, LCR_8N1);
    out8(FCR, FCR_ON);
    if ((in8(IIR) & IIR_FIFO) == IIR_FIFO)
        fifo = FIFO;
    out8(MCR, MCR_ON);
    present = true;
    console_add_sink(&sink);
    return true;
}
