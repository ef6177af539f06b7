/*
 * ke_kit.h - what the kernel layer's tests share: host threads that call in, and bug checks as data. SPDX-License-Identifier: MIT
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>

static inline pthread_t Spawn(void *(*Routine)(void *), void *Argument)
{
    pthread_t Id;

    assert_int_equal(pthread_create(&Id, NULL, Routine, Argument), 0);
    return Id;
}

static inline void Join(pthread_t Id)
{
    assert_int_equal(pthread_join(Id, NULL), 0);
}

static inline LARGE_INTEGER Relative(LONGLONG Microseconds)
{
    LARGE_INTEGER Time;

    Time.QuadPart = -Microseconds * 10;
    return Time;
}

static inline ULONG64 Now(void)
{
    return KeQueryInterruptTime();
}

/* Runs Function(Argument); expects exactly this stop, and the thread put back to where it was. */
static inline void ExpectStop(void (*Function)(void *), void *Argument, uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3,
                              uint64_t P4)
{
    ntmm_bugcheck Stop;
    KIRQL Irql = KeGetCurrentIrql();

    memset(&Stop, 0, sizeof Stop);
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, Code);
    assert_int_equal(Stop.parameters[0], P1);
    assert_int_equal(Stop.parameters[1], P2);
    assert_int_equal(Stop.parameters[2], P3);
    assert_int_equal(Stop.parameters[3], P4);
    assert_int_equal(KeGetCurrentIrql(), Irql);
}

/* The status that Function(Argument) raises, or STATUS_SUCCESS. */
static inline NTSTATUS RaisedBy(void (*Function)(void *), void *Argument)
{
    NTSTATUS Status = STATUS_SUCCESS;

    __try {
        Function(Argument);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}

/* A system with two processors, whatever the host has. */
static inline int StartTwoProcessors(void **State)
{
    ntmm_options Options;

    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.cpus = 2;
    return ntmm_start(&Options);
}

static inline int StopSystem(void **State)
{
    (void)State;
    return ntmm_stop();
}
