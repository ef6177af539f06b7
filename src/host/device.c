/*
 * device.c - a simulated bus-master device: a thread of nobody's, which knows physical addresses only.
 * SPDX-License-Identifier: MIT
 *
 * ntmm_device_create starts a thread for a device object (the physical one that the driver got its DMA adapter for). The thread
 * runs one job at a time, in order: ntmm_device_post hands it one, ntmm_device_wait waits until all are done. A job moves real
 * data with ntmm_device_read and ntmm_device_write, by the logical addresses that the driver programmed; with iommu=1 what the
 * device is not allowed to touch stops the system (src/io/dmadom.c). A job may call kernel routines, as an interrupt would:
 * KeInsertQueueDpc, and what may be called at the IRQL it raises to.
 *
 * Locks: the device's mutex; none while a job runs.
 */
#include <pthread.h>
#include <stdlib.h>
#include "host/host.h"
#include "io/dmap.h"
#include "io/pnp.h"

struct job {
    struct job *Next;
    void (*Routine)(ntmm_device *, void *);
    void *Context;
};
struct ntmm_device {
    void *Object;
    pthread_t Thread;
    pthread_mutex_t Lock;
    pthread_cond_t Changed;
    struct job *First, **Last;
    bool Busy, Ending;
    IOP_CHANNEL_FUNCTIONS Functions;
    int32_t (*Configure)(ntmm_device *, uint32_t, void *); /* NULL: Functions is on no list */
};

static void *Run(void *Argument)
{
    ntmm_device *Device = Argument;
    pthread_mutex_lock(&Device->Lock);
    for (;;) {
        struct job *Job = Device->First;
        if (!Job) {
            if (Device->Ending)
                break;
            pthread_cond_wait(&Device->Changed, &Device->Lock);
            continue;
        }
        Device->First = Job->Next;
        if (!Device->First)
            Device->Last = &Device->First;
        Device->Busy = true;
        pthread_mutex_unlock(&Device->Lock);
        Job->Routine(Device, Job->Context);
        free(Job);
        pthread_mutex_lock(&Device->Lock);
        Device->Busy = false;
        pthread_cond_broadcast(&Device->Changed);
    }
    pthread_mutex_unlock(&Device->Lock);
    return NULL;
}

ntmm_device *ntmm_device_create(void *device_object)
{
    ntmm_device *Device = calloc(1, sizeof *Device);
    if (!Device)
        return NULL;
    Device->Object = device_object;
    Device->Last = &Device->First;
    pthread_mutex_init(&Device->Lock, NULL);
    pthread_cond_init(&Device->Changed, NULL);
    if (pthread_create(&Device->Thread, NULL, Run, Device)) {
        pthread_cond_destroy(&Device->Changed);
        pthread_mutex_destroy(&Device->Lock);
        free(Device);
        return NULL;
    }
    return Device;
}

int ntmm_device_post(ntmm_device *device, void (*routine)(ntmm_device *, void *), void *context)
{
    struct job *Job = malloc(sizeof *Job);
    if (!Job)
        return HostFail("no memory for a device's job");
    *Job = (struct job){NULL, routine, context};
    pthread_mutex_lock(&device->Lock);
    *device->Last = Job;
    device->Last = &Job->Next;
    pthread_cond_broadcast(&device->Changed);
    pthread_mutex_unlock(&device->Lock);
    return 0;
}

void ntmm_device_wait(ntmm_device *device)
{
    pthread_mutex_lock(&device->Lock);
    while (device->First || device->Busy)
        pthread_cond_wait(&device->Changed, &device->Lock);
    pthread_mutex_unlock(&device->Lock);
}

void ntmm_device_destroy(ntmm_device *device)
{
    pthread_mutex_lock(&device->Lock);
    device->Ending = true;
    pthread_cond_broadcast(&device->Changed);
    pthread_mutex_unlock(&device->Lock);
    pthread_join(device->Thread, NULL);
    pthread_cond_destroy(&device->Changed);
    ntmm_device_on_configure(device, NULL);
    pthread_mutex_destroy(&device->Lock);
    free(device);
}

void ntmm_device_read(ntmm_device *device, uint64_t logical, void *to, size_t length)
{
    IopDeviceAccess(device->Object, logical, to, length, FALSE);
}

void ntmm_device_write(ntmm_device *device, uint64_t logical, const void *from, size_t length)
{
    IopDeviceAccess(device->Object, logical, (PVOID)(ULONG_PTR)from, length, TRUE);
}

size_t ntmm_device_system_dma(ntmm_device *device, void *bytes, size_t length)
{
    return IopSystemDmaTransfer(device->Object, bytes, length < MAXULONG ? (ULONG)length : MAXULONG);
}

static NTSTATUS Configure(IOP_CHANNEL_FUNCTIONS *Functions, ULONG Number, PVOID Context)
{
    ntmm_device *Device = CONTAINING_RECORD(Functions, ntmm_device, Functions);
    return Device->Configure(Device, Number, Context);
}

void ntmm_device_on_configure(ntmm_device *device, int32_t (*routine)(ntmm_device *device, uint32_t function, void *context))
{
    if (device->Configure)
        IopForgetChannelFunctions(&device->Functions);
    device->Configure = routine;
    device->Functions.Device = device->Object;
    device->Functions.Routine = Configure;
    if (routine)
        IopSetChannelFunctions(&device->Functions);
}

int ntmm_device_set_config(ntmm_device *device, uint32_t offset, const void *bytes, size_t length)
{
    return length <= MAXULONG && IopGiveConfig(device->Object, offset, bytes, (ULONG)length) ? 0 : -1;
}
