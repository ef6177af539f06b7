/*
 * guard.h - between guard.c, which hears of new signal handlers, and trap.c, which calls them.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include <signal.h>
#include <ntdef.h>

/* Sees to it that signal() and sigaction() of the loaded objects ask HalpKeepAction first. */
VOID HalpGuardSignals(VOID);
/* If a machine runs and the signal is one of its own: the action for what is not the core's is told (Old) and
 * replaced (New), each unless NULL; TRUE. */
BOOLEAN HalpKeepAction(int Signal, const struct sigaction *New, struct sigaction *Old);
