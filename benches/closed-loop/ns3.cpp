// ns-3's core scheduler with a million pending events: each one that fires is armed again for a random time.
#include "ns3/core-module.h"
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

static uint64_t fired, wanted, state = 1;

static double
Next()
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return 1.0 + static_cast<double>(state >> 11) / 9007199254740992.0 * 599.0;
}

static void
Fire()
{
    if (++fired >= wanted)
    {
        ns3::Simulator::Stop();
        return;
    }
    ns3::Simulator::Schedule(ns3::Seconds(Next()), &Fire);
}

int
main(int argc, char** argv)
{
    const uint64_t pending = 1000000;
    wanted = argc > 1 ? strtoull(argv[1], nullptr, 10) : 3000000;
    for (uint64_t i = 0; i < pending; ++i)
    {
        ns3::Simulator::Schedule(ns3::Seconds(Next()), &Fire);
    }
    auto begin = std::chrono::steady_clock::now();
    ns3::Simulator::Run();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    printf("%.0f\n", static_cast<double>(fired) / seconds);
    ns3::Simulator::Destroy();
    return 0;
}
