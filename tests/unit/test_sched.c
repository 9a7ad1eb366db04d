// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/sched.c hv/vm/cpus.c rt/coroutine.c
// Turns on one CPU, with guests that are scripts: who waits leaves the CPU to the others, goes on before them
// when it is called, and pays for its own time only. What two CPUs do to each other: test_cpus.c.
#include "drivers/apic.h"
#include "hv/vm/cpus.h"
#include "hv/vm/guest.h"
#include "hv/vm/sched.h"
#include "rt/irq.h"
#include "rt/paging.h"
#include "rt/x86.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

#define GUESTS 3

uint32_t guest_count;
const struct virt_ops *guest_virt;
static struct guest *guests; // GUESTS of them
static struct boot_guest config = {.name = "scripted", .cpus = 1};
static void (*scripts[GUESTS])(struct vcpu *v, unsigned run); // what it does in its n-th run, from 0
static unsigned runs[GUESTS];
static char story[256]; // who ran: a, b, c; who goes on with its exit: 1, 2, 3; and what the scripts say
static jmp_buf end;
static bool ended;
static struct {
    char *bottom, *top;
} stacks[GUESTS];
static unsigned stack_count;

static void say(char what)
{
    size_t n = strlen(story);
    assert_true(n + 1 < sizeof story);
    story[n] = what;
}

/// In scripts: what is not so spoils the story.
static void must(bool is)
{
    if (!is)
        say('?');
}

static struct turn *turn_of(unsigned guest)
{
    return &guests[guest].turns[0];
}

// --- the machine around it ---

uint64_t time_ns_to_tsc(uint64_t ns)
{
    return ns / 10; // slices are short here, for they pass really
}
struct guest *guest_at(uint32_t index)
{
    return &guests[index];
}
void *stack_alloc(size_t size)
{
    assert_true(stack_count < GUESTS);
    char *bottom = aligned_alloc(16, size);
    stacks[stack_count].bottom = bottom;
    stacks[stack_count++].top = bottom + size;
    return bottom + size;
}
enum status irq_alloc(irq_handler *handler, void *ctx, uint8_t *vector)
{
    (void)handler, (void)ctx, (void)vector;
    return ERR_NOMEM;
}
struct cpu *cpu_get(uint32_t index)
{
    (void)index;
    return cpu_self();
}
void apic_send(uint32_t apic_id, uint8_t vector)
{
    (void)apic_id, (void)vector;
}
void bus_guest_collect(struct bus_guest *guest)
{
    (void)guest;
}
void bus_guest_rest(struct bus_guest *guest)
{
    (void)guest;
}
bool guest_extint_wired(const struct vcpu *v)
{
    (void)v;
    return false;
}
uint64_t guest_isa_tick(struct guest *g)
{
    (void)g;
    return UINT64_MAX;
}
void guest_start_waiting(struct guest *g)
{
    (void)g;
}
void guest_tend(struct guest *g)
{
    (void)g;
}
int lapic_pending(const struct lapic *apic)
{
    (void)apic;
    return -1;
}
uint64_t lapic_tick(struct lapic *apic, uint64_t now)
{
    (void)apic, (void)now;
    return 0;
}

static enum run_result run(struct vcpu *v)
{
    unsigned who = v->guest->index;
    say((char)('a' + who));
    scripts[who](v, runs[who]++);
    return RUN_SLICE;
}
static void go_on_with(struct vcpu *v)
{
    say((char)('1' + v->guest->index));
}
static const struct virt_ops ops = {.run = run, .go_on = go_on_with};

static void use_up(struct vcpu *v)
{
    while (rdtsc() < v->slice_end_tsc)
        cpu_pause();
}
static void compute(struct vcpu *v, unsigned n)
{
    (void)n;
    use_up(v);
}

static bool on_turn_stack(const void *local)
{
    for (unsigned i = 0; i < stack_count; i++) {
        if ((const char *)local >= stacks[i].bottom && (const char *)local < stacks[i].top)
            return true;
    }
    return false;
}
static void keep_house(void)
{
    int local;
    if (ended && !on_turn_stack(&local))
        longjmp(end, 1);
}

static int tidy(void **state)
{
    (void)state;
    for (; stack_count; stack_count--)
        free(stacks[stack_count - 1].bottom);
    free(guests);
    guests = NULL;
    return 0;
}

/// Runs `count` guests until a script sets `ended`.
static void play(unsigned count)
{
    tidy(NULL);
    guests = calloc(GUESTS, sizeof *guests);
    assert_non_null(guests);
    memset(story, 0, sizeof story);
    memset(runs, 0, sizeof runs);
    ended = false;
    guest_count = count;
    for (unsigned i = 0; i < count; i++) {
        guests[i].config = &config;
        guests[i].index = i;
        atomic_store(&guests[i].state, GUEST_RUNNING);
        guests[i].vcpus[0].guest = &guests[i];
        atomic_store(&guests[i].vcpus[0].state, VCPU_RUNNABLE);
        assert_int_equal(sched_add(&guests[i]), OK);
    }
    guest_virt = &ops;
    if (!setjmp(end))
        sched_run(keep_house);
}

/// The same, with what must come of it. Slices are of the build machine's time: where that gave the processor
/// to somebody else in the middle of one, it is played again.
static void play_for(unsigned count, const char *expected)
{
    for (unsigned i = 0; i < 50; i++) {
        play(count);
        if (strncmp(story, expected, strlen(expected)) == 0)
            return;
    }
    story[strlen(expected)] = 0;
    assert_string_equal(story, expected);
}

// --- scripts and tests ---

static bool answer; // what `asks` waits for

/// Two plain runs, so that it is known who wants to run; then it waits in the middle of its exit.
static void asks(struct vcpu *v, unsigned n)
{
    if (n != 2) {
        ended = ended || n > 2;
        use_up(v);
        return;
    }
    while (!answer) {
        must(sched_waiter() == turn_of(v->guest->index));
        sched_wait();
    }
    say('!');
}

static void calls_in_its_fifth_run(struct vcpu *v, unsigned n)
{
    answer = n >= 4;
    if (n == 4) {
        sched_wake(turn_of(0));
        must(atomic_load(&v->attention) & ATTENTION_LEAVE);
        return; // it has not used up its slice
    }
    use_up(v);
}

static void who_waits_leaves_the_cpu_to_the_others(void **state)
{
    (void)state;
    scripts[0] = asks;
    scripts[1] = calls_in_its_fifth_run;
    // Looked at each time round; called in b's fifth run, it goes on at once, with what is left of its turn;
    // then b with what is left of its own.
    play_for(2, "ababab1b1b1!ab");
}

static void not_called_it_is_looked_at_in_its_place(void **state)
{
    (void)state;
    scripts[0] = asks;
    scripts[1] = compute;
    scripts[2] = calls_in_its_fifth_run;
    play_for(3, "abcabcabc1bc1bc1!ac");
}

/// The answer comes between the look and the wait.
static void asks_in_a_race(struct vcpu *v, unsigned n)
{
    if (n == 2) {
        struct turn *t = sched_waiter();
        must(t);
        sched_wake(t);
        sched_wait();
        say('!');
    }
    ended = n > 2;
    use_up(v);
}

static void a_call_before_the_wait_is_not_lost(void **state)
{
    (void)state;
    scripts[0] = asks_in_a_race;
    scripts[1] = compute;
    play_for(2, "ababa1!b"); // nobody ran in between
}

static void sees_nobody(struct vcpu *v, unsigned n)
{
    if (n > 0) // the CPU went round once with the guests of this test
        must(!sched_waiter());
    use_up(v);
    if (n > 0)
        must(!sched_waiter());
    ended = n > 5;
}

static void who_is_alone_looks_for_itself(void **state)
{
    (void)state;
    scripts[0] = sees_nobody;
    play_for(1, "aaaaaaa");
}

static void look_alone(void)
{
    must(!sched_waiter());
}
static void keeps_the_cpu(struct vcpu *v, unsigned n)
{
    if (n == 2) {
        must(sched_waiter());
        sched_alone(look_alone);
        must(sched_waiter());
    }
    ended = n > 2;
    use_up(v);
}

static void nobody_else_runs_where_that_must_not_be(void **state)
{
    (void)state;
    scripts[0] = keeps_the_cpu;
    scripts[1] = compute;
    play_for(2, "abababa");
}

/// As another CPU: takes a's lock while it is not its turn, and gives it back later.
static void keeps_the_lock_of_another(struct vcpu *v, unsigned n)
{
    if (n == 1)
        guest_lock(&guests[0]);
    if (n == 3) {
        guest_unlock(&guests[0]);
        must(atomic_load(&v->attention) & ATTENTION_LEAVE);
        return;
    }
    use_up(v);
}

static void stops_after_three(struct vcpu *v, unsigned n)
{
    ended = n > 2;
    use_up(v);
}

static void who_waits_long_for_its_lock_leaves_the_cpu_too(void **state)
{
    (void)state;
    scripts[0] = stops_after_three;
    scripts[1] = keeps_the_lock_of_another;
    play_for(2, "ababbbab");
}

#define T(test) cmocka_unit_test_teardown(test, tidy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(who_waits_leaves_the_cpu_to_the_others),  T(not_called_it_is_looked_at_in_its_place),
        T(a_call_before_the_wait_is_not_lost),      T(who_is_alone_looks_for_itself),
        T(nobody_else_runs_where_that_must_not_be), T(who_waits_long_for_its_lock_leaves_the_cpu_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
