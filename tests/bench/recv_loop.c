/* The least that a client can do: N streaming POSTs, recv() into one buffer, a stamp a read. Prints bytes, reads, CPU,
   and p50 and p99 of read - sent in ns: what of a client's error is this machine's.

   recv_loop HOST PORT STREAMS TOKENS MODEL */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

static long long *late, late_count, late_room;

/* The server writes when it sent each token: "sent_ns":123. */
static void note_late(const char *at, ssize_t size, long long now) {
    const char *end = at + size;
    while ((at = memmem(at, end - at, "\"sent_ns\":", 10)) && late_count < late_room) {
        late[late_count++] = now - strtoll(at + 10, NULL, 10);
        at += 10;
    }
}

static int by_size(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    int streams = atoi(argv[3]), tokens = atoi(argv[4]), open_streams = streams;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &at.sin_addr);
    char body[1024], request[2048], buffer[65536];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"stream\":true,\"max_tokens\":%d,\"stream_options\":{\"include_usage\":true},"
             "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", argv[5], tokens);
    int length = snprintf(request, sizeof request,
                          "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n%s", argv[1], strlen(body), body);
    int *sockets = calloc(streams, sizeof *sockets);
    late_room = (long long)streams * tokens;
    late = calloc(late_room, sizeof *late);
#ifdef __linux__
    int set = epoll_create1(0);
#else
    struct pollfd *set = calloc(streams, sizeof *set);
#endif
    for (int i = 0; i < streams; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(sockets[i], (struct sockaddr *)&at, sizeof at)) { perror("connect"); return 1; }
        if (write(sockets[i], request, length) != length) { perror("write"); return 1; }
#ifdef __linux__
        struct epoll_event want = {.events = EPOLLIN, .data.fd = sockets[i]};
        epoll_ctl(set, EPOLL_CTL_ADD, sockets[i], &want);
#else
        set[i].fd = sockets[i];
        set[i].events = POLLIN;
#endif
    }
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    long long bytes = 0, reads = 0;
    while (open_streams > 0) {
        int ready[512], count = 0;
#ifdef __linux__
        struct epoll_event events[512];
        count = epoll_wait(set, events, 512, 30000);
        for (int i = 0; i < count; i++) ready[i] = events[i].data.fd;
#else
        if (poll(set, streams, 30000) > 0)
            for (int i = 0; i < streams && count < 512; i++)
                if (set[i].revents) ready[count++] = set[i].fd;
#endif
        if (count <= 0) { fprintf(stderr, "nothing came for 30 s\n"); return 1; }
        for (int i = 0; i < count; i++) {
            ssize_t got = recv(ready[i], buffer, sizeof buffer, 0);
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            if (got <= 0) {
                if (got < 0 && errno == EINTR) continue;
                close(ready[i]);
                open_streams--;
#ifndef __linux__
                for (int j = 0; j < streams; j++) if (set[j].fd == ready[i]) set[j].fd = -1;
#endif
                continue;
            }
            note_late(buffer, got, now.tv_sec * 1000000000LL + now.tv_nsec);
            bytes += got;
            reads++;
        }
    }
    getrusage(RUSAGE_SELF, &after);
    qsort(late, late_count, sizeof *late, by_size);
    long long p50 = late_count ? late[late_count / 2] : 0, p99 = late_count ? late[late_count * 99 / 100] : 0;
    printf("%lld %lld %.6f %lld %lld\n", bytes, reads,
           seconds(after.ru_utime) - seconds(before.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_stime), p50, p99);
    return 0;
}
