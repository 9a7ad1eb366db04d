// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/cpus.c
// A guest on several CPUs, each a thread here: who holds the lock and has made the guest stand still has its
// memory to himself; who is called out, and who need not be.
#include "hv/vm/cpus.h"
#include "hv/vm/sched.h"
#include "hv/vm/vm.h"
#include "tests/unit/host/host.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CPUS 3

static struct cpu cpus[CPUS] = {{.index = 0}, {.index = 1}, {.index = 2}};
static _Thread_local unsigned self;
static _Atomic unsigned kicks[CPUS];
static struct boot_guest config = {.cpus = CPUS};
static struct guest g;

struct cpu *cpu_self(void)
{
    return &cpus[self];
}
uint32_t cpu_count(void)
{
    return CPUS;
}
void sched_unlocked(struct guest *guest)
{
    (void)guest;
}
void sched_pause(unsigned before)
{
    (void)before;
    sched_yield();
}
void sched_kick(uint32_t cpu)
{
    atomic_fetch_add(&kicks[cpu], 1);
}

static int fresh(void **state)
{
    (void)state;
    memset(&g, 0, sizeof g);
    memset(kicks, 0, sizeof kicks);
    self = 0;
    g.config = &config;
    g.spread = true;
    for (unsigned i = 0; i < CPUS; i++) {
        g.vcpus[i].guest = &g;
        g.vcpus[i].cpu = i;
    }
    return 0;
}

static void only_who_is_inside_is_called(void **state)
{
    (void)state;
    vcpu_attend(&g.vcpus[1], ATTENTION_EVENT);
    assert_int_equal(kicks[1], 0); // looks before it enters
    g.vcpus[0].inside = g.vcpus[1].inside = true;
    vcpu_attend(&g.vcpus[0], ATTENTION_EVENT); // this CPU's own
    vcpu_attend(&g.vcpus[1], ATTENTION_LEAVE);
    assert_int_equal(kicks[0], 0);
    assert_int_equal(kicks[1], 1);
    assert_int_equal(g.vcpus[1].attention, ATTENTION_EVENT | ATTENTION_LEAVE);
}

static void alone(void **state)
{
    (void)state;
    g.running[0] = &g.vcpus[0];
    assert_true(guest_alone(&g)); // a slice of this CPU is nobody else's
    g.running[2] = &g.vcpus[2];
    g.vcpus[2].inside = true;
    assert_false(guest_alone(&g));
    assert_int_equal(kicks[2], 1);
    assert_int_equal(g.vcpus[2].attention, ATTENTION_LEAVE);
    g.running[2] = NULL;
    assert_true(guest_alone(&g));
    assert_false(guest_wants_out(&g));
    g.pause_wanted = true;
    assert_true(guest_wants_out(&g));
    g.pause_wanted = false;
    g.requests = GUEST_REQUEST_RESET;
    assert_true(guest_wants_out(&g));
}

static void not_spread(void **state)
{
    (void)state;
    g.spread = false;
    guest_lock(&g);
    assert_true(guest_locked(&g));
    vm_inside(&g.vcpus[0]); // keeps the lock: nobody else wants it
    assert_true(guest_locked(&g));
    assert_false(g.vcpus[0].inside);
    vm_outside(&g.vcpus[0]);
    guest_unlock(&g);
    assert_false(guest_locked(&g));
}

static void where(void **state)
{
    char text[32], small[8];
    (void)state;
    assert_string_equal(guest_where(&g, text, sizeof text), "CPUs 0 1 2");
    assert_string_equal(guest_where(&g, small, sizeof small), "CPUs 0 ");
    g.spread = false;
    g.vcpus[0].cpu = 2;
    assert_string_equal(guest_where(&g, text, sizeof text), "CPU 2");
}

static uint64_t memory[CPUS]; // of the guest: each of its CPUs writes a word while it is inside
static _Atomic bool over;

static void *run(void *arg)
{
    self = *(unsigned *)arg;
    struct vcpu *v = &g.vcpus[self];
    while (!atomic_load(&over)) {
        guest_lock(&g);
        for (unsigned entries = 0; entries < 8; entries++) {
            unsigned seen = atomic_load(&kicks[self]);
            vm_inside(v);
            while (atomic_load(&kicks[self]) == seen && !atomic_load(&over))
                (*(volatile uint64_t *)&memory[self])++;
            vm_outside(v);
        }
        guest_unlock(&g);
    }
    return NULL;
}

static void it_stands_still(void **state)
{
    (void)state;
    pthread_t threads[CPUS];
    unsigned ids[CPUS];
    over = false;
    for (unsigned i = 1; i < CPUS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &ids[i]), 0);
    }
    unsigned moved = 0;
    uint64_t last[CPUS] = {0};
    for (unsigned round = 0; round < 50 || (!moved && round < 1000000); round++) { // they may begin late
        guest_lock(&g);
        guest_still(&g);
        uint64_t before[CPUS];
        memcpy(before, memory, sizeof before);
        for (unsigned i = 0; i < 3; i++)
            sched_yield();
        for (unsigned i = 1; i < CPUS; i++) {
            assert_false(g.vcpus[i].inside);
            moved += memory[i] != last[i];
        }
        assert_memory_equal(before, memory, sizeof before);
        memcpy(last, memory, sizeof last);
        guest_unlock(&g);
        sched_yield();
    }
    over = true;
    for (unsigned i = 1; i < CPUS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(moved > 0); // they did run in between
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_who_is_inside_is_called, fresh),
        cmocka_unit_test_setup(alone, fresh),
        cmocka_unit_test_setup(not_spread, fresh),
        cmocka_unit_test_setup(where, fresh),
        cmocka_unit_test_setup(it_stands_still, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
