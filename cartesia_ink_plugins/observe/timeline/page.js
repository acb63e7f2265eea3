"use strict";
const $=(s,a=document)=>a.querySelector(s),call=$(".call"),box=$(".scroll"),now=$(".now"),audio=$("audio"),seconds=+call.dataset.seconds,sound=$("#sound");
const steps=$("#steps").textContent.split(",").map(Number);
let zoom=1;
function decode(text){
  const raw=Uint8Array.from(atob(text),c=>c.charCodeAt(0)),size=132,n=raw.length/size*256,wav=new DataView(new ArrayBuffer(44+2*n));
  const put=(at,s)=>[...s].forEach((c,i)=>wav.setUint8(at+i,c.charCodeAt(0)));
  put(0,"RIFF");wav.setUint32(4,36+2*n,true);put(8,"WAVEfmt ");wav.setUint32(16,16,true);wav.setUint16(20,1,true);wav.setUint16(22,1,true);
  wav.setUint32(24,8000,true);wav.setUint32(28,16000,true);wav.setUint16(32,2,true);wav.setUint16(34,16,true);put(36,"data");wav.setUint32(40,2*n,true);
  const changes=[-1,-1,-1,-1,2,4,6,8];let out=44;
  for(let b=0;b<raw.length;b+=size){
    let value=raw[b]|raw[b+1]<<8,index=raw[b+2];value=value<<16>>16;
    for(let i=0;i<256;i++){
      const code=i%2?raw[b+4+(i>>1)]>>4:raw[b+4+(i>>1)]&15,step=steps[index],d=(step>>3)+((code&7)*step>>2);
      value=Math.max(-32768,Math.min(32767,value+(code&8?-d:d)));
      index=Math.max(0,Math.min(88,index+changes[code&7]));
      wav.setInt16(out,value,true);out+=2;
    }
  }
  return URL.createObjectURL(new Blob([wav.buffer],{type:"audio/wav"}));
}
const offset=sound?+sound.dataset.start:0;
if(sound)audio.src=decode(sound.textContent);
function show(t){now.style.left=100*t/seconds+"%";const x=call.clientWidth*t/seconds;if(x<box.scrollLeft||x>box.scrollLeft+box.clientWidth)box.scrollLeft=x-box.clientWidth/3}
function play(t,start=true){show(t);if(sound){audio.currentTime=Math.max(0,t-offset);if(start)audio.play()}}
function scale(z){const middle=(box.scrollLeft+box.clientWidth/2)/call.clientWidth;zoom=Math.max(1,Math.min(64,z));call.style.setProperty("--zoom",zoom);box.scrollLeft=middle*call.clientWidth-box.clientWidth/2}
audio.addEventListener("timeupdate",()=>show(audio.currentTime+offset));
call.addEventListener("click",e=>{if(!e.target.closest("[data-t]"))play(seconds*(e.clientX-call.getBoundingClientRect().left)/call.clientWidth)});
document.addEventListener("click",e=>{const b=e.target.closest("[data-t]");if(b)play(+b.dataset.t)});
$("#in").onclick=()=>scale(zoom*2);$("#out").onclick=()=>scale(zoom/2);
document.addEventListener("keydown",e=>{
  if(e.ctrlKey||e.metaKey||e.altKey)return;
  const t=audio.currentTime+offset,on=e.target.closest("button,audio");
  if(e.key==="+"||e.key==="=")scale(zoom*2);
  else if(e.key==="-")scale(zoom/2);
  else if(e.key==="ArrowRight"&&!on)play(Math.min(seconds,t+5),false);
  else if(e.key==="ArrowLeft"&&!on)play(Math.max(0,t-5),false);
  else if(e.key===" "&&!on)audio.paused?audio.play():audio.pause();
  else if(e.key==="n"||e.key==="p"){
    const all=[...document.querySelectorAll(".turns .i.turn")],at=all.indexOf(document.activeElement),to=all[e.key==="n"?at+1:at<0?all.length-1:at-1];
    if(to){to.focus();to.scrollIntoView({block:"nearest",inline:"center"})}
  }else return;
  e.preventDefault();
});
