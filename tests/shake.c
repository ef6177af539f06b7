/*
 * shake.c - runs a command while its threads are frozen at random moments. SPDX-License-Identifier: MIT
 *
 *     shake COMMAND [ARGUMENT...]        scripts/shake [REGEX [TIMES]] runs the suite's tests so
 *
 * A test that rests on who comes first passes a thousand times on a quiet machine and fails on a busy one. This makes every
 * machine the worst: each processor has something to do all the time, and up to FROZEN_MOST threads of the command (any of its
 * processes: it has a session of its own) are SCHED_IDLE, so that they hardly run, for half a millisecond to thirty, each from
 * an instant nobody chose. The command sees nothing of it: no signal, no failing call, no library of ours inside.
 *
 * Threads go back to SCHED_OTHER, so it is for commands that set no policy of their own. Exits as the command does. As root it
 * runs above what it shakes (SCHED_RR), and is less often late itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FROZEN_MOST  4
#define THREADS_MOST 8192
#define PROCESS_MOST 256
#define CPUS_MOST    64

typedef struct {
    pid_t thread;
    double until;
} frozen;

static pid_t processes[PROCESS_MOST], threads[THREADS_MOST];
static size_t process_count, thread_count;
static unsigned long long state;

static unsigned next_random(void) /* xorshift */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 20);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void set_policy(pid_t thread, int policy) /* one that ended meanwhile is no matter */
{
    const struct sched_param none = {0};
    (void)sched_setscheduler(thread, policy, &none);
}

/* Calls visit with each number that names an entry of the folder. */
static void each_number(const char *folder, void (*visit)(pid_t number, pid_t session), pid_t session)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char *end;
        long number = strtol(entry->d_name, &end, 10);
        if (*end == 0 && number > 1)
            visit((pid_t)number, session);
    }
    closedir(dir);
}
static void add_process(pid_t process, pid_t session)
{
    if (process_count < PROCESS_MOST && process != session && getsid(process) == session)
        processes[process_count++] = process;
}
static void add_thread(pid_t thread, pid_t session)
{
    (void)session;
    if (thread_count < THREADS_MOST)
        threads[thread_count++] = thread;
}

static pid_t start_command(char **arguments)
{
    pid_t child = fork();
    if (child == 0) {
        setsid();
        execvp(arguments[0], arguments);
        perror(arguments[0]);
        _exit(127);
    }
    return child;
}

/* Something to do for a processor, at the lowest ordinary priority: what else runs beside this hardly notices. */
static pid_t start_hog(int cpu)
{
    pid_t child = fork();
    if (child == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
        (void)setpriority(PRIO_PROCESS, 0, 19);
        for (;;)
            __builtin_ia32_pause();
    }
    return child;
}

int main(int count, char **arguments)
{
    frozen held[FROZEN_MOST];
    size_t holding = 0;
    unsigned long freezes = 0;
    double threads_read = 0, processes_read = 0;
    int status = 0, hogs = (int)sysconf(_SC_NPROCESSORS_ONLN);
    pid_t hog[CPUS_MOST];

    if (count < 2) {
        fputs("usage: shake COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    state = (unsigned long long)time(NULL) * 2654435761u + (unsigned)getpid();
    pid_t child = start_command(arguments + 1);
    if (child < 0) {
        perror("shake: fork");
        return 2;
    }
    hogs = hogs > CPUS_MOST ? CPUS_MOST : hogs;
    for (int i = 0; i < hogs; i++)
        hog[i] = start_hog(i);
    const struct sched_param above = {.sched_priority = 1};
    (void)sched_setscheduler(0, SCHED_RR, &above);

    while (waitpid(child, &status, WNOHANG) != child) {
        double t = now();
        for (size_t i = 0; i < holding;) {
            if (held[i].until < t) {
                set_policy(held[i].thread, SCHED_OTHER);
                held[i] = held[--holding];
            } else {
                i++;
            }
        }
        if (t - processes_read > 0.02) {
            processes_read = t;
            process_count = 0;
            each_number("/proc", add_process, child);
        }
        if (t - threads_read > 0.004) {
            threads_read = t;
            thread_count = 0;
            for (size_t i = 0; i < process_count; i++) {
                char folder[64];
                snprintf(folder, sizeof folder, "/proc/%d/task", (int)processes[i]);
                each_number(folder, add_thread, child);
            }
        }
        if (thread_count != 0 && holding < FROZEN_MOST) {
            pid_t thread = threads[next_random() % thread_count];
            bool long_one = next_random() % 8 == 0;
            double length = long_one ? 0.002 + next_random() % 1000 * 3e-5 : 0.0005 + next_random() % 1000 * 3e-6;
            set_policy(thread, SCHED_IDLE);
            held[holding++] = (frozen){thread, t + length};
            freezes++;
        }
        const struct timespec pause = {0, 50000 + (long)(next_random() % 400000)};
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < hogs; i++) {
        if (hog[i] > 0)
            kill(hog[i], SIGKILL);
    }
    fprintf(stderr, "shake: %lu freezes\n", freezes);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
