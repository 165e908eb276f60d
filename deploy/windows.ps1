<#
.SYNOPSIS
Installs Darkroom on Windows, or brings it up to date: Python's environment, the build of PyTorch for
this graphics card, the token, a check, and if you like a start with the computer.

.DESCRIPTION
Run it in the project's folder, as often as you like:

    powershell -ExecutionPolicy Bypass -File deploy\windows.ps1

Nothing outside the folder is changed, but for Python (-InstallPython) and the scheduled task
(-Autostart, -AtBoot). docs/windows.md says more.

.PARAMETER Torch
Which build of PyTorch: auto (by the card's driver), cpu, or one for CUDA such as cu130.

.PARAMETER InstallPython
Have winget install Python where there is none.

.PARAMETER Autostart
Start the bot whenever you log in, and again when it ends.

.PARAMETER AtBoot
Start it with the computer, before anybody logs in. Needs a PowerShell of an administrator.

.PARAMETER RemoveAutostart
Take the scheduled task away, and do nothing else.

.PARAMETER Config
Another config.toml than the one in the project's folder.

.PARAMETER SkipDoctor
Leave out the check at the end.
#>
[CmdletBinding()]
param(
    [ValidatePattern('^(auto|cpu|cu\d{3}|xpu)$')]
    [string]$Torch = 'auto',
    [switch]$InstallPython,
    [switch]$Autostart,
    [switch]$AtBoot,
    [switch]$RemoveAutostart,
    [string]$Config = '',
    [switch]$SkipDoctor
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$TaskName = 'Darkroom'
$Project = Split-Path -Parent $PSScriptRoot
$Environment = Join-Path $Project '.venv'
$EnvironmentPython = Join-Path $Environment 'Scripts\python.exe'
if (-not $Config) {
    $Config = Join-Path $Project 'config.toml'
}
# the task starts in the project's folder
$Config = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Config)

function Write-Step([string]$Text) {
    Write-Host ''
    Write-Host "== $Text" -ForegroundColor Cyan
}

# Runs a program, and ends the script where it fails: PowerShell goes on by itself.
function Invoke-Program([string]$Program, [string[]]$Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "$Program $($Arguments -join ' ') ended with status $LASTEXITCODE."
    }
}

# Whether this is a Python that Darkroom runs on. The one in WindowsApps only opens the Store.
function Test-Python([string]$Program, [string[]]$Arguments) {
    try {
        $wanted = 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
        & $Program @Arguments -c $wanted 2>$null | Out-Null
        return $LASTEXITCODE -eq 0
    } catch {
        return $false
    }
}

function Find-Python {
    foreach ($version in '3.12', '3.13', '3.14', '3.11') {
        if ((Get-Command py -ErrorAction SilentlyContinue) -and (Test-Python 'py' @("-$version"))) {
            return , @('py', "-$version")
        }
    }
    foreach ($name in 'python', 'python3') {
        if ((Get-Command $name -ErrorAction SilentlyContinue) -and (Test-Python $name @())) {
            return , @($name)
        }
    }
    return $null
}

function Install-Environment {
    Write-Step "Python's environment"
    if ((Test-Path $EnvironmentPython) -and (Test-Python $EnvironmentPython @())) {
        Write-Host "$Environment is there."
        return
    }
    $python = Find-Python
    if ($null -eq $python -and $InstallPython) {
        Invoke-Program 'winget' @('install', '--exact', '--id', 'Python.Python.3.12', '--source', 'winget')
        $env:Path = [Environment]::GetEnvironmentVariable('Path', 'User') + ';' + $env:Path
        $python = Find-Python
    }
    if ($null -eq $python) {
        throw 'No Python 3.11 to 3.14 was found. Run this again with -InstallPython, or: winget install Python.Python.3.12'
    }
    $arguments = @($python | Select-Object -Skip 1) + @('-m', 'venv', $Environment)
    Invoke-Program $python[0] $arguments
    Write-Host "$Environment was made."
}

# The build is told by what torch says of itself, so that a second run downloads nothing.
function Test-Torch {
    $asked = 'import torch, sys; sys.exit(not (torch.version.cuda or torch.version.hip or sys.argv[1] == "cpu"))'
    try {
        # where PowerShell is old, what a program writes to stderr ends the script
        & $EnvironmentPython -W ignore -c $asked $Torch 2>$null
        return $LASTEXITCODE -eq 0
    } catch {
        return $false
    }
}

function Install-Darkroom {
    Write-Step 'PyTorch'
    Push-Location $Project
    try {
        $pip = @('-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-c', 'constraints.txt')
        Invoke-Program $EnvironmentPython ($pip + @('uv'))
        $nvidia = Get-Command nvidia-smi -ErrorAction SilentlyContinue
        $backend = if ($Torch -eq 'auto' -and -not $nvidia) { 'cpu' } else { $Torch }
        $version = (Select-String -Path constraints.txt -Pattern '^torch==(.+)$').Matches[0].Groups[1].Value
        $torchArguments = @('-m', 'uv', 'pip', 'install', '--python', $EnvironmentPython,
            '--torch-backend', $backend, '-c', 'constraints.txt', "torch==$version")
        if ($backend -ne 'cpu' -and -not (Test-Torch)) {
            # one without CUDA may be there: it has the same version
            $torchArguments += @('--reinstall-package', 'torch')
        }
        Invoke-Program $EnvironmentPython $torchArguments
        Write-Step 'Darkroom'
        Invoke-Program $EnvironmentPython ($pip + @('-e', '.'))
        Invoke-Program $EnvironmentPython ($pip + @('--no-deps', 'spandrel'))
    } finally {
        Pop-Location
    }
}

function Set-Token {
    $file = Join-Path (Split-Path -Parent $Config) '.env'
    if ((Test-Path $file) -or $env:DISCORD_TOKEN -or -not [Environment]::UserInteractive) {
        return
    }
    Write-Step "The bot's token"
    Write-Host 'docs/discord.md says where to get it. Without one, a local Discord starts: press Enter.'
    $secret = Read-Host 'Token' -AsSecureString
    $token = (New-Object System.Net.NetworkCredential('', $secret)).Password
    if ($token) {
        Set-Content -Path $file -Value "DISCORD_TOKEN=$token" -Encoding ASCII
        # for nobody else's eyes
        Invoke-Program 'icacls' @($file, '/inheritance:r', '/grant:r', "$($env:USERDOMAIN)\$($env:USERNAME):F", '/grant:r', '*S-1-5-18:F')
    }
}

function Register-Autostart {
    Write-Step 'Autostart'
    $data = Join-Path (Split-Path -Parent $Config) 'data'
    New-Item -ItemType Directory -Force -Path $data | Out-Null
    $log = Join-Path $data 'darkroom.log'
    # a task has nowhere to write to by itself, and is not started again where its program dies
    $runner = Join-Path $PSScriptRoot 'windows-run.cmd'
    $line = '/d /c ""{0}" "{1}" "{2}" "{3}""' -f $runner, $EnvironmentPython, $Config, $log
    $action = New-ScheduledTaskAction -Execute 'cmd.exe' -Argument $line -WorkingDirectory $Project
    $settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries `
        -ExecutionTimeLimit ([TimeSpan]::Zero) -RestartCount 10 `
        -RestartInterval (New-TimeSpan -Minutes 1) -MultipleInstances IgnoreNew
    $user = "$env:USERDOMAIN\$env:USERNAME"
    if ($AtBoot) {
        $trigger = New-ScheduledTaskTrigger -AtStartup
        # without a password: it has the rights of this account on this computer, and no others
        $principal = New-ScheduledTaskPrincipal -UserId $user -LogonType S4U -RunLevel Limited
    } else {
        $trigger = New-ScheduledTaskTrigger -AtLogOn -User $user
        $principal = New-ScheduledTaskPrincipal -UserId $user -LogonType Interactive -RunLevel Limited
    }
    Register-ScheduledTask -TaskName $TaskName -Action $action -Trigger $trigger -Settings $settings `
        -Principal $principal -Description 'Darkroom, an image bot for Discord' -Force | Out-Null
    Write-Host "The task $TaskName starts it; its log is $log."
    Write-Host "At once: Start-ScheduledTask $TaskName. To end it in order: .venv\Scripts\darkroom drain"
}

if ($RemoveAutostart) {
    Unregister-ScheduledTask -TaskName $TaskName -Confirm:$false
    Write-Host "The task $TaskName is gone."
    exit 0
}

Install-Environment
Install-Darkroom
Set-Token
if (-not $SkipDoctor) {
    Write-Step 'Check'
    & $EnvironmentPython -m bot --config $Config doctor
    if ($LASTEXITCODE -ne 0) {
        Write-Warning 'Mend what is marked FAIL, then start it.'
    }
}
if ($Autostart -or $AtBoot) {
    Register-Autostart
}
Write-Step 'Done'
Write-Host 'Start it: .venv\Scripts\python -m bot run'
