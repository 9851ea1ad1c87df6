using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using SystemTap.Targets;
using SystemTap.Tests.Corpus;
using Xunit;

namespace SystemTap.Tests.UserProbes;

/// <summary>Debug information from a server, asked by build id. The server is a few lines here: what matters is what it sends, and what it fails to send.</summary>
public sealed partial class DebuginfodTests
{
    /// <summary>What the server does when it is asked for debug information.</summary>
    public enum Server
    {
        /// <summary>Sends it.</summary>
        Has,

        /// <summary>Sends it in pieces, with pauses.</summary>
        IsSlow,

        /// <summary>404.</summary>
        HasNot,

        /// <summary>500.</summary>
        Fails,

        /// <summary>Sends something else.</summary>
        SendsNonsense,

        /// <summary>Closes the connection in the middle.</summary>
        BreaksOff,

        /// <summary>Takes the request and never answers.</summary>
        IsSilent,

        /// <summary>Nobody listens.</summary>
        IsGone,
    }

    [Theory]
    [InlineData(Server.Has, true)]
    [InlineData(Server.IsSlow, true)]
    [InlineData(Server.HasNot, false)]
    [InlineData(Server.Fails, false)]
    [InlineData(Server.SendsNonsense, false)]
    [InlineData(Server.BreaksOff, false)]
    [InlineData(Server.IsSilent, false)]
    [InlineData(Server.IsGone, false)]
    public async Task Variables_are_known_when_the_server_gives_the_debug_information(Server server, bool isFound)
    {
        Assert.SkipUnless(DwarfFile.IsLibraryPresent, "libdw1 is not installed");
        Assert.SkipUnless(System.Runtime.InteropServices.NativeLibrary.TryLoad("libdebuginfod.so.1", out _), "libdebuginfod1 is not installed");
        var whole = await ProbedPrograms.Build("places.c", "-g -O2 -Wl,--build-id");
        var folder = Directory.CreateTempSubdirectory("stap-debuginfod-").FullName;
        try
        {
            var program = Path.Combine(folder, "stripped");
            Assert.Equal(0, (await StapProcess.RunProgramAsync(["strip", "-o", program, whole], null, 30, folder, null)).Status);
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var port = ((IPEndPoint)listener.LocalEndpoint).Port;
            var asked = new List<string>();
            using var stop = new CancellationTokenSource();
            var serving = server == Server.IsGone ? Task.CompletedTask : ServeAsync(listener, server, await File.ReadAllBytesAsync(whole), asked, stop.Token);
            if (server == Server.IsGone)
            {
                listener.Stop();
            }

            string[] environment = ["env", $"DEBUGINFOD_URLS=http://127.0.0.1:{port}", "DEBUGINFOD_TIMEOUT=2", "DEBUGINFOD_RETRY_LIMIT=1", $"DEBUGINFOD_CACHE_PATH={folder}/cache"];
            var got = await StapProcess.RunProgramAsync([.. environment, .. StapProcess.Program, "-p2", "-e", $"probe process(\"{program}\").function(\"local\") {{ println($a) }}"], null, 60, folder, null);
            stop.Cancel();
            await serving;
            if (server != Server.IsGone)
            {
                Assert.Contains(asked, path => BuildIdPath().IsMatch(path));
            }

            if (isFound)
            {
                Assert.True(got.Status == 0, got.Err);
                return;
            }

            Assert.Equal(1, got.Status);
            Assert.Contains($"\"{program}\" has no debug information", got.Err, StringComparison.Ordinal);
            Assert.Contains("the servers of DEBUGINFOD_URLS did not give it", got.Err, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [GeneratedRegex("^/buildid/[0-9a-f]{40}/debuginfo$")]
    private static partial Regex BuildIdPath();

    private static async Task ServeAsync(TcpListener listener, Server server, byte[] file, List<string> asked, CancellationToken stop)
    {
        var open = new List<TcpClient>();
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync(stop);
                open.Add(client);
                var stream = client.GetStream();
                using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
                var request = await reader.ReadLineAsync(stop) ?? "";
                while (await reader.ReadLineAsync(stop) is { Length: > 0 })
                {
                }

                var path = request.Split(' ').ElementAtOrDefault(1) ?? "";
                asked.Add(path);
                if (server == Server.IsSilent)
                {
                    continue;
                }

                var isDebugInfo = path.EndsWith("/debuginfo", StringComparison.Ordinal);
                var body = !isDebugInfo || server is Server.HasNot or Server.Fails ? [] : server == Server.SendsNonsense ? Encoding.ASCII.GetBytes("<html>it works</html>") : file;
                var status = isDebugInfo && server == Server.Fails ? "500 Internal Server Error" : body.Length == 0 ? "404 Not Found" : "200 OK";
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n"), stop);
                var sent = server == Server.BreaksOff ? body.Length / 2 : body.Length;
                var piece = server == Server.IsSlow ? Math.Max(1, (sent / 6) + 1) : Math.Max(1, sent);
                for (var at = 0; at < sent; at += piece)
                {
                    await stream.WriteAsync(body.AsMemory(at, Math.Min(piece, sent - at)), stop);
                    if (server == Server.IsSlow)
                    {
                        await Task.Delay(100, stop);
                    }
                }

                client.Close();
            }
        }
        catch (OperationCanceledException)
        {
            // The test has what it wants.
        }
        catch (IOException)
        {
            // Stap went away in the middle.
        }
        finally
        {
            open.ForEach(c => c.Dispose());
        }
    }
}
